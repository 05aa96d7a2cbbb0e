"""From all-MiniLM-L6-v2, on MedQuAD, PubMed titles and abstracts, and PubMedQA."""
