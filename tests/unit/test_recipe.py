"""Recipes: their keys, and the places of what they make."""

import json
from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from superres.models import default_model_path
from superres.pipeline.config import Settings
from superres.pipeline.config_file import validated
from superres.pipeline.layout import Layout, dataset_in, layout_on, run_of_image
from superres.pipeline.recipe import DEFAULT_RECIPE, Recipe, described, recipe_of
from superres.pipeline.records import image_id_of
from tests.support.references import image_reference

DAY = date(2026, 1, 31)
GREY = Recipe(grayscale=True)
IMAGE = "a" * 32


def layout_with(recipe: Recipe) -> Layout:
    return layout_on(dataset_in("s3://bucket/data"), DAY, 2, recipe)


def places(layout: Layout) -> dict[str, str]:
    """Every place of a layout, below the folder of all data."""
    named = ("low_resolution", "high_resolution", "patches", "inference", "reconstructed")
    found = {name: getattr(layout, name) for name in (*named, "evaluations", "manifest")}
    for name in ("result", "evaluation", "rejection", "arrival_rejection"):
        found[name] = getattr(layout, name)(IMAGE)
    return {name: uri.removeprefix("s3://bucket/data/") for name, uri in found.items()}


# ---- the recipe


def test_the_key_is_of_the_members_that_are_not_default() -> None:
    assert DEFAULT_RECIPE.key is None
    assert Recipe(model_path=None, grayscale=False, precision="single").key is None
    # As written in storage by everyone who has such results: they must never change.
    assert GREY.key == "1e867cb0"
    assert Recipe(precision="float16").key == "a8c97ec5"
    assert Recipe(model_path="own.safetensors", grayscale=True).key == "cc13da78"


def test_a_member_that_is_added_later_changes_no_key() -> None:
    class Later(Recipe):
        quality: int | None = None

    assert Later().key is None
    assert Later(grayscale=True).key == GREY.key
    assert Later(grayscale=True, quality=90).key not in (GREY.key, Later(quality=90).key)
    assert Later(grayscale=True, quality=90).members == {"grayscale": True, "quality": 90}


def test_a_recipe_comes_back_from_its_json() -> None:
    recipe = Recipe(model_path="own.safetensors", precision="bfloat16")
    text = recipe.model_dump_json()
    assert json.loads(text) == {"model_path": "own.safetensors", "precision": "bfloat16"}
    assert Recipe.model_validate_json(text) == recipe
    assert Recipe.model_validate_json(DEFAULT_RECIPE.model_dump_json()) == DEFAULT_RECIPE


def test_a_member_that_is_not_known_here_is_an_error() -> None:
    with pytest.raises(ValidationError, match="sharpness"):
        Recipe.model_validate({"grayscale": True, "sharpness": 1})


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({}, "default"),
        ({"grayscale": True, "precision": "float16"}, "grayscale, precision float16"),
        ({"model_path": "s3://bucket/models/own.safetensors"}, "model own.safetensors"),
        ({"target_size": 3840}, "target size 3840"),  # of a newer writer
    ],
)
def test_a_recipe_is_described_to_people(members: dict[str, object], text: str) -> None:
    assert described(members) == text


# ---- of the configuration


def processing(**options: object) -> Settings:
    return validated({"processing": options}, "test")


def test_the_configuration_gives_the_recipe() -> None:
    assert recipe_of(processing(patch_size=64, max_megapixels=9), 2) == DEFAULT_RECIPE
    assert recipe_of(processing(grayscale=True), 2) == GREY
    on_gpu = processing(device="cuda", half_precision=True)
    assert recipe_of(on_gpu, 4) == Recipe(precision="float16")
    assert recipe_of(processing(device="cuda"), 4) == DEFAULT_RECIPE


def test_a_checkpoint_is_part_of_the_recipe_of_its_scale() -> None:
    own = processing(upscale_factor=3, model_path="own.safetensors")
    assert recipe_of(own, 3) == Recipe(model_path="own.safetensors")
    assert recipe_of(own, 2) == DEFAULT_RECIPE
    # The included file for clean input, for every image: not what is done without a model.
    included = processing(upscale_factor=3, model_path=str(default_model_path(3)))
    assert recipe_of(included, 3) == Recipe(model_path=str(default_model_path(3)))


def test_how_networks_are_chosen_is_part_of_the_recipe() -> None:
    assert recipe_of(processing(restore="off"), 2) == Recipe(restore="off")
    assert recipe_of(processing(restore=75), 2) == Recipe(restore=75)
    own = processing(model_path="own.safetensors", restore=75)
    assert recipe_of(own, 2) == Recipe(model_path="own.safetensors")
    measured = validated({"evaluate": {"jpeg_quality": 75}}, "test")
    assert recipe_of(measured, 2) == Recipe(evaluate_jpeg_quality=75)


# ---- the layout


def test_the_default_recipe_leaves_everything_where_it_was() -> None:
    partition = "scale=2/ingest_date=2026-01-31"
    assert places(layout_with(DEFAULT_RECIPE)) == {
        "low_resolution": f"low_resolution/{partition}",
        "high_resolution": "high_resolution/ingest_date=2026-01-31",
        "patches": "work/run_id=2026-01-31-x2/patches",
        "inference": "work/run_id=2026-01-31-x2/inference",
        "reconstructed": "work/run_id=2026-01-31-x2/reconstructed",
        "evaluations": f"results/evaluations/{partition}",
        "manifest": "results/runs/2026-01-31-x2.json",
        "result": f"results/images/{partition}/{IMAGE}.png",
        "evaluation": f"results/evaluations/{partition}/{IMAGE}.json",
        "rejection": f"results/rejected/{partition}/{IMAGE}.json",
        "arrival_rejection": f"results/rejected/{partition}/{IMAGE}.json",
    }


def test_another_recipe_has_places_of_its_own() -> None:
    partition, recipe = "scale=2/ingest_date=2026-01-31", f"recipe={GREY.key}"
    ours, default = places(layout_with(GREY)), places(layout_with(DEFAULT_RECIPE))
    assert {name: uri for name, uri in ours.items() if uri != default[name]} == {
        "patches": f"work/run_id=2026-01-31-x2/{recipe}/patches",
        "inference": f"work/run_id=2026-01-31-x2/{recipe}/inference",
        "reconstructed": f"work/run_id=2026-01-31-x2/{recipe}/reconstructed",
        "evaluations": f"results/evaluations/{partition}/{recipe}",
        "manifest": f"results/runs/2026-01-31-x2-{GREY.key}.json",
        "result": f"results/images/{partition}/{recipe}/{IMAGE}.png",
        "evaluation": f"results/evaluations/{partition}/{recipe}/{IMAGE}.json",
        "rejection": f"results/rejected/{partition}/{recipe}/{IMAGE}.json",
    }
    started = layout_with(GREY).started(datetime(2026, 2, 1, 2, tzinfo=UTC))
    assert started.manifest.endswith(f"/runs/2026-01-31-x2-20260201T020000Z-{GREY.key}.json")


def test_an_image_with_a_recipe_of_its_own_is_stored_beside_the_others() -> None:
    plain, own = image_reference(), image_reference(recipe=GREY)
    default = image_reference(recipe=DEFAULT_RECIPE)
    low = "s3://bucket/data/low_resolution/scale=2/ingest_date=2026-01-31"
    layout = layout_with(Recipe(precision="float16"))
    assert layout.low_resolution_of(plain) == f"{low}/{IMAGE}"
    assert layout.low_resolution_of(own) == f"{low}/recipe={GREY.key}/{IMAGE}"
    assert layout.low_resolution_of(default) == f"{low}/recipe=default/{IMAGE}"
    for reference in (plain, own, default):
        assert run_of_image(f"{layout.low_resolution_of(reference)}.png") == "2026-01-31-x2"


def test_a_recipe_of_its_own_enters_the_image_id() -> None:
    ids = [
        image_id_of("upscale", 2, "upload:00ff", recipe)
        for recipe in (None, DEFAULT_RECIPE, GREY, Recipe(precision="float16"))
    ]
    assert ids[0] == image_id_of("upscale", 2, "upload:00ff")
    assert len(set(ids)) == 4
