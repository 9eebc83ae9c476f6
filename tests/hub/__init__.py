# SPDX-License-Identifier: Apache-2.0
"""A Hub on loopback: the API over a folder of repositories, nginx behind it for the big files."""
from .content import File, Random, Sparse
from .hub import Hub

__all__ = ["File", "Hub", "Random", "Sparse"]
