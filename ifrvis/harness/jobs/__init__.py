"""How it runs: the queue, this machine, clusters, a node, copies of the code, the live view."""
