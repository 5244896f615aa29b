"""
What `every8d doctor` is made of.

`rows` are its findings, `line` asks the gateway one thing once, `checks` goes from configuration to
firewall, `probe` answers what nobody knows of the real gateway, `report` writes that down.
"""
