import json
from typing import Any

import pytest
from pydantic import ValidationError

from triptych.metrics.card import Card, Score, UnlikeCardsError, comparable, first_difference

PROTOCOL: dict[str, Any] = {
    "metric": "recall",
    "parameters": {"k": 3},
    "data": "abc",
    "split": "test",
    "n_real": 100,
    "n_fake": 200,
    "extractor": "digits-cnn",
    "extractor_hash": "def",
    "resize": "none",
    "quantisation": "uint8 round",
    "version": 1,
}


def score(**changes: Any) -> Score:
    card = Card(**{**PROTOCOL, **changes})
    return Score(name="recall[x]", value=0.5, low=0.4, high=0.6, method="m", better="higher", card=card)


def test_alike_cards_compare_whatever_they_describe():
    comparable(score(family="GAN", run="1"), score(family="VAE", run="2", controls={"steps": 5}))
    assert first_difference(score().card, score(seeds="0-9").card) is None


@pytest.mark.parametrize("field", Card.PROTOCOL)
def test_each_protocol_field_forbids_a_comparison(field: str):
    other = {"k": 5} if field == "parameters" else 7 if isinstance(PROTOCOL[field], int) else "other"
    with pytest.raises(UnlikeCardsError, match=f"{field} differs") as caught:
        comparable(score(), score(**{field: other}))
    assert caught.value.field == field


def test_every_field_is_protocol_or_description():
    described = {"family", "run", "controls", "weights", "step", "seeds", "labels", "precision", "versions"}
    assert set(Card.PROTOCOL) | described == set(Card.model_fields)
    assert set(Card.PROTOCOL) == set(PROTOCOL)


def test_a_score_survives_json_and_is_frozen():
    made = score(controls={"steps": 20, "guidance": 1.0})
    assert Score.model_validate(json.loads(json.dumps(made.model_dump(mode="json")))) == made
    with pytest.raises(ValidationError, match="frozen"):
        made.value = 1.0  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        score(tyop=1)
