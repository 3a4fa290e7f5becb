"""How the operator learns of the cluster: watches, comparisons with what is there, and questions to pods and to Kueue."""
