"""L2R-GNN: one weight per training item, so that embedding dimensions become independent.

Source: Chen et al., "Learning to Reweight for Graph Neural Network", AAAI 2024 (arXiv 2312.12475). There is no complete
public code: this is a reconstruction, and what the paper leaves open is said where it is decided.
"""
