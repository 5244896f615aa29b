"""The command line, through child processes, real sockets and terminals."""
