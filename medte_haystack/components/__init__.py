"""Thin Haystack components over `encoder` and `index`."""

from haystack.core.serialization import allow_deserialization_module

allow_deserialization_module("medte_haystack")
