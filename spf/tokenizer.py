"""A small CLIP tokenizer of our own: every word of a list is one token, any other text falls to
pieces.

The result is a plain `transformers.CLIPTokenizer` folder, so nothing else has to know that the
vocabulary is small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
CONTEXT = 77

Pair = tuple[str, str]


def split_words(text: str) -> list[str]:
    """Cuts text the way every CLIP tokenizer does before merging: lower case, words, single digits,
    punctuation.
    """
    rules = CLIPTokenizer().backend_tokenizer
    return [
        piece
        for piece, _ in rules.pre_tokenizer.pre_tokenize_str(rules.normalizer.normalize_str(text))
    ]


def learn_merges(words: Iterable[str]) -> list[Pair]:
    """Byte-pair merges, most frequent first, until each word is a single token (Sennrich et al.
    2016, run to the end).

    Encoding replays merges in the order in which they were learnt, so the last state reached here,
    one token for each word, is also what the tokenizer produces. Chains written down word by word
    would disturb one another.
    """
    spelled = [[*word[:-1], word[-1] + WORD_END] for word in sorted(set(words))]
    merges: list[Pair] = []
    while pairs := Counter(pair for symbols in spelled for pair in pairwise(symbols)):
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        spelled = [merge(symbols, best) for symbols in spelled]
    return merges


def merge(symbols: list[str], pair: Pair) -> list[str]:
    """Joins each occurrence of the pair, from left to right."""
    joined: list[str] = []
    for symbol in symbols:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def new_tokenizer(words: Iterable[str]) -> CLIPTokenizer:
    """Tokenizer with one token for each word of the given texts; 77 positions, padded with END."""
    known = {piece for word in words for piece in split_words(word)}
    merges = learn_merges(known)
    letters = sorted(ByteLevel.alphabet())
    tokens = [
        *letters,
        *(letter + WORD_END for letter in letters),
        *("".join(pair) for pair in merges),
        BEGIN,
        END,
    ]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(dict.fromkeys(tokens))},
        merges=merges,
        model_max_length=CONTEXT,
        known_words=sorted(known),  # kept in tokenizer_config.json; prompts.unknown_words reads it
    )


def build_tokenizer(words: Iterable[str], folder: str | Path) -> CLIPTokenizer:
    """Writes `new_tokenizer(words)` to a folder that `CLIPTokenizer.from_pretrained` reads; returns
    it as read back.
    """
    new_tokenizer(words).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)
