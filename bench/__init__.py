"""What a request costs with the handler, beside the limit of the machine and beside its peers."""
