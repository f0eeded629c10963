import json
from typing import Any

import pytest
from pydantic import ValidationError

from triptych.core.checksummed import checksum, has_checksum
from triptych.core.errors import UnlikeCardsError
from triptych.metrics.score import Card, Score, comparable, first_difference
from triptych.metrics.stats.resampling import ResamplingErrors

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
    "quantization": "uint8 round",
    "labels": "none",
    "version": 1,
}


def score(**changes: Any) -> Score:
    card = Card(**{**PROTOCOL, **changes})
    return Score(name="recall[x]", value=0.5, low=0.4, high=0.6, method="m", better="higher", card=card)


def test_cards_with_the_same_protocol_are_comparable_whatever_they_describe() -> None:
    comparable(score(model="GAN", run="1"), score(model="VAE", run="2", controls={"steps": 5}))
    assert first_difference(score().card, score(seeds="0-9").card) is None


@pytest.mark.parametrize("field", Card.PROTOCOL)
def test_each_protocol_field_forbids_a_comparison(field: str) -> None:
    other = {"k": 5} if field == "parameters" else 7 if isinstance(PROTOCOL[field], int) else "other"
    with pytest.raises(UnlikeCardsError, match=f"{field} differs") as caught:
        comparable(score(), score(**{field: other}))
    assert caught.value.field == field


def test_how_labels_were_drawn_is_protocol_and_old_cards_say_it_in_other_words() -> None:
    drawn = score(labels="class distribution of the training data")
    assert score(labels="drawn by the training data's class law").card == drawn.card
    assert score(labels="the pictures' own").card.labels == "of the images"
    old = {name: value for name, value in PROTOCOL.items() if name != "labels"}
    for card in (Card(**old), Card(**old, labels="")):
        assert first_difference(card, Card(**old)) is None
        with pytest.raises(UnlikeCardsError, match=r"labels differs \('unknown: not recorded' and 'class"):
            comparable(card, drawn)


def test_every_field_is_protocol_or_description() -> None:
    described = {
        "model",
        "run",
        "controls",
        "weights",
        "weights_requested",
        "step",
        "seeds",
        "precision",
        "versions",
    }
    assert set(Card.PROTOCOL) | described == set(Card.model_fields)
    assert set(Card.PROTOCOL) == set(PROTOCOL)


def test_a_score_survives_json_and_is_frozen() -> None:
    original = score(controls={"steps": 20, "guidance": 1.0})
    assert Score.model_validate(json.loads(json.dumps(original.model_dump(mode="json")))) == original
    with pytest.raises(ValidationError, match="frozen"):
        original.value = 1.0  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        score(tyop=1)


def stored(**changes: Any) -> dict[str, Any]:
    resampling = ResamplingErrors((0.1, -0.1), 10.0, "2 groups")
    original = score(controls={"guidance": 1.0}).model_copy(update={"resampling": resampling, **changes})
    return json.loads(json.dumps(original.model_dump(mode="json")))


def test_stored_score_has_a_checksum_and_round_trips() -> None:
    record = stored()
    assert has_checksum(record) and len(record["checksum"]) == 64
    back = Score.model_validate(record)
    assert back.resampling == ResamplingErrors((0.1, -0.1), 10.0, "2 groups")
    assert back.model_dump(mode="json") == record
    assert "checksum" not in score().model_dump()


def edits() -> list[tuple[str, Any]]:
    return [
        ("value", lambda r: r.update(value=0.6)),
        ("card", lambda r: r["card"].update(n_real=101)),
        ("controls", lambda r: r["card"]["controls"].update(guidance=2.0)),
        ("resampling", lambda r: r["resampling"].update(errors=[0.1, -0.2])),
        ("taken out", lambda r: r.pop("notes")),
        ("the checksum", lambda r: r.update(checksum="0" * 64)),
    ]


@pytest.mark.parametrize("edit", [edit for _, edit in edits()], ids=[name for name, _ in edits()])
def test_an_edit_by_hand_is_refused(edit: Any) -> None:
    record = stored()
    edit(record)
    with pytest.raises(ValidationError, match=r"the score recall\[x\] was changed after .*triptych evaluate"):
        Score.model_validate(record)


def test_checksum_does_not_depend_on_json_formatting() -> None:
    record = stored(value=1.0, high=1.0)
    rewritten = {name: record[name] for name in reversed(record)} | {"value": 1, "high": 1}
    assert Score.model_validate(rewritten).value == 1.0
    assert checksum({"a": 1.0, "b": [2.0]}) == checksum({"b": [2], "a": 1})
    assert checksum({"a": 1.5}) != checksum({"a": 1})


def test_scores_without_a_checksum_are_read() -> None:
    record = stored()
    for name in ("checksum", "resampling", "trials", "target"):
        record.pop(name)
    assert not has_checksum(record)
    back = Score.model_validate(record)
    assert back.resampling is None and back.target == "expectation"


def test_new_field_does_not_break_an_old_checksum() -> None:
    """The seal is of the record as it stands: fields that get defaults today were not in it."""
    record = stored()
    record.pop("target")
    record["checksum"] = checksum(record)
    assert Score.model_validate(record).target == "expectation"


def test_scores_stored_under_former_names_are_read() -> None:
    record = stored(trials=200)
    errors = record.pop("resampling")
    errors["freedom"], errors["dealt"] = errors.pop("dof"), "5 deals of 4"
    errors.pop("grouping")
    record |= {"spread": errors, "share_of": record.pop("trials")}
    card = record["card"]
    card |= {"family": "GAN", "quantisation": card.pop("quantization"), "extractor": "inception-legacy-grey"}
    card |= {"resize": "TF1 bilinear 299, grey repeated to RGB"}
    card.pop("model")
    record["checksum"] = checksum(record)
    back = Score.model_validate(record)
    assert back.resampling == ResamplingErrors((0.1, -0.1), 10.0, "5 splits into 4 blocks")
    assert (back.trials, back.card.model, back.card.quantization) == (200, "GAN", "uint8 round")
    assert back.card.extractor == "inception-legacy-gray"
    assert back.card.resize == "TF1 bilinear 299, gray repeated to RGB"
