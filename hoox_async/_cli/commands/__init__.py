"""The commands, one in each module. A command imports no other command."""
