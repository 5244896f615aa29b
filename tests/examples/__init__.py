"""Small programs that use the package, executed by the tests beside them."""
