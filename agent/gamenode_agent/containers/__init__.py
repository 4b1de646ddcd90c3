"""The containers of this host: what there is, what is done with it by command, and what is kept alive."""
