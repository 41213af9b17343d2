"""What names stand for, which page explains them, what a demo printed and bound."""
