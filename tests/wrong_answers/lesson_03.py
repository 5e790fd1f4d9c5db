"""Answers to lesson 03's exercises as they are often given, and wrong."""

import math


def masked(scores, real, axis=1):
    return scores.masked_fill(~real, -math.inf).softmax(axis)


def unscaled(query, key, value, real):
    return masked(query @ key.T, real) @ value


def divided_by_the_size(query, key, value, real):
    return masked(query @ key.T / 32, real) @ value


def over_the_queries(query, key, value, real):
    return (query @ key.T / math.sqrt(32)).softmax(0) @ value


def weights_only(query, key, value, real):
    return masked(query @ key.T / math.sqrt(32), real)


def padding_heard(query, key, value, real):
    return (query @ key.T / math.sqrt(32)).softmax(1) @ value


def padding_scored_zero(query, key, value, real):
    return (query @ key.T / math.sqrt(32)).masked_fill(~real, 0.0).softmax(1) @ value


WRONG = {
    "check_one_head": [
        unscaled,
        divided_by_the_size,
        over_the_queries,
        weights_only,
        padding_heard,
        padding_scored_zero,
    ],
    "check_parameters_of_a_block": [
        lambda heads: 4 * (32 * heads) ** 2,
        lambda heads: 12 * heads**2,
        lambda heads: 12 * 32 * heads,
        lambda heads: 12 * (32 * heads) ** 2 + 9 * 32 * heads,
    ],
    "check_tokens_where_attention_costs_as_much": [
        lambda channels: channels,
        lambda channels: channels / 6,
        lambda channels: 24 * channels,
        lambda channels: 0,
    ],
}
