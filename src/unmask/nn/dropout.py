"""Dropout."""

from torch import nn

Dropout = nn.Dropout
