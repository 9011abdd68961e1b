"""Psi and Gamma: photos and questions in, answer text and one embedding per contact token out (paper, section 3.2).

Nothing is imported here: prompts, answers and tokenizers work without torch.
"""
