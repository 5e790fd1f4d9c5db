"""Predict, run, explain: what the reader expected is kept, and scored once the result is there."""

from __future__ import annotations

import json
from pathlib import Path


class Predictions:
    """The reader's predictions in one notebook, kept in `folder`/predictions.json, so that they survive a restart."""

    def __init__(self, folder: str | Path, notebook: str) -> None:
        self.path, self.notebook = Path(folder) / "predictions.json", notebook
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def _all(self) -> dict[str, dict]:
        return json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}

    def _put(self, name: str, **values: object) -> None:
        everything = self._all()
        everything.setdefault(self.notebook, {}).setdefault(name, {}).update(values)
        self.path.write_text(json.dumps(everything, indent=2), encoding="utf-8")

    def predict(self, name: str, guess: str | None, choices: str = "abc") -> None:
        """Keeps a guess, a letter of `choices`; None means that the reader has not decided yet."""
        if guess is None:
            letters = ", ".join(f'"{letter}"' for letter in choices)
            print(f"No prediction yet: write one of {letters} in place of None, then run the cell again.")
        elif guess not in tuple(choices):
            print(f"{guess!r} is none of {', '.join(choices)}; nothing was kept.")
            return
        else:
            print(f"Your prediction is {guess}.")
        self._put(name, guess=guess)

    def reveal(self, name: str, answer: str) -> None:
        """Says the answer, and whether the prediction was right."""
        guess = self._all().get(self.notebook, {}).get(name, {}).get("guess")
        self._put(name, answer=answer)
        told = "No prediction was made." if guess is None else f"You predicted {guess}."
        print(f"{told} The answer is {answer}.")

    def score(self) -> None:
        """How many of the predictions were right."""
        mine = self._all().get(self.notebook, {}).values()
        made = [p for p in mine if p.get("guess") and p.get("answer")]
        right = sum(p["guess"] == p["answer"] for p in made)
        print(f"{len(made)} of {len(list(mine))} predictions made, {right} right.")
