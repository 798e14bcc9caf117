"""Who was in the training set: members against others, beside what needs no model."""
