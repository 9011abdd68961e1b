"""Objects that people touch: categories, the CC0 catalogue, parametric generators."""
