"""The pages for people: the host's VMs as a table, and each VM by itself."""
