"""Load balancing of sparse mixtures of experts: the auxiliary-loss-free bias as a primal-dual method, and its peers."""
