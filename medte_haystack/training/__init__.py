"""Contrastive training of embedding models: pairs, batches, loss and the trainer. Needs the extra `training`."""
