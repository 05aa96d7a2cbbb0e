"""Training triplets that a language model makes of clinical notes, as MedEmbed's were made."""
