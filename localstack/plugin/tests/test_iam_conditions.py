"""Condition operators, with the values that AWS's documentation gives.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
"""

import pytest
from localstack_emr_msk.iam.conditions import PolicyError, holds, parse_conditions
from localstack_emr_msk.iam.patterns import Context, arn_matches, expanded, matches


def result(operator: str, wanted: object, found: tuple[str, ...] | None, **more: str) -> bool:
    context: dict[str, tuple[str, ...]] = {name.lower(): (text,) for name, text in more.items()}
    if found is not None:
        context["aws:key"] = found
    (condition,) = parse_conditions({operator: {"aws:Key": wanted}})
    return holds(condition, context)


@pytest.mark.parametrize(
    ("operator", "wanted", "found", "expected"),
    [
        ("StringEquals", "a", ("a",), True),
        ("StringEquals", "A", ("a",), False),
        ("StringEquals", ["b", "a"], ("a",), True),
        ("StringEqualsIgnoreCase", "A", ("a",), True),
        ("StringNotEquals", ["a", "b"], ("b",), False),
        ("StringNotEquals", ["a", "b"], ("c",), True),
        ("StringLike", "low_resolution/*", ("low_resolution/scale=2/",), True),
        ("StringLike", "low_resolution/*", ("high_resolution/",), False),
        ("StringNotLike", "a?", ("ab",), False),
        ("NumericLessThan", "1.2", ("1.1",), True),
        ("NumericLessThan", "1.2", ("1.2",), False),
        ("NumericLessThanEquals", "10", ("10",), True),
        ("NumericGreaterThan", 3600, ("3601",), True),
        ("NumericEquals", "1", ("one",), False),
        ("DateGreaterThan", "2020-01-01T00:00:01Z", ("2020-01-01T00:00:02Z",), True),
        ("DateLessThan", "2020-01-01T00:00:01Z", ("1577836802",), False),
        ("Bool", "false", ("false",), True),
        ("Bool", True, ("true",), True),
        ("Bool", "true", ("false",), False),
        ("IpAddress", "203.0.113.0/24", ("203.0.113.7",), True),
        ("NotIpAddress", "203.0.113.0/24", ("203.0.113.7",), False),
        (
            "ArnEquals",
            "arn:aws:sns:*:123456789012:t-*",
            ("arn:aws:sns:eu-west-1:123456789012:t-1",),
            True,
        ),
        ("ArnLike", "arn:aws:sns:*:t", ("arn:aws:sns:eu-west-1:123456789012:t",), False),
        ("ArnNotLike", "arn:aws:s3:::a*", ("arn:aws:s3:::b",), True),
        # Several values of the request.
        ("ForAllValues:StringEquals", ["a", "b"], ("a", "b"), True),
        ("ForAllValues:StringEquals", ["a", "b"], ("a", "c"), False),
        ("ForAnyValue:StringEquals", ["a", "b"], ("c", "b"), True),
        ("ForAnyValue:StringEquals", ["a", "b"], ("c",), False),
        ("ForAnyValue:StringNotEquals", ["a"], ("a", "b"), True),
    ],
)
def test_an_operator_compares(
    operator: str, wanted: object, found: tuple[str, ...], expected: bool
) -> None:
    assert result(operator, wanted, found) is expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("StringEquals", False),
        ("StringLike", False),
        ("Bool", False),
        ("NumericLessThan", False),
        ("StringEqualsIfExists", True),
        ("BoolIfExists", True),
        ("StringNotEquals", True),
        ("StringNotLike", True),
        ("ArnNotEquals", True),
        ("ForAllValues:StringEquals", True),
        ("ForAnyValue:StringEquals", False),
        ("ForAnyValue:StringNotEquals", False),
        ("ForAnyValue:StringEqualsIfExists", False),
    ],
)
def test_a_key_that_the_request_lacks(operator: str, expected: bool) -> None:
    assert result(operator, "1", None) is expected


def test_null_asks_whether_the_request_has_the_key() -> None:
    assert result("Null", "true", None)
    assert not result("Null", "true", ("a",))
    assert result("Null", "false", ("a",))


def test_all_operators_and_keys_of_a_block_must_hold() -> None:
    block = {"StringEquals": {"a": "1", "b": "2"}, "Bool": {"c": "true"}}
    found = parse_conditions(block)
    context = {"a": ("1",), "b": ("2",), "c": ("true",)}
    assert all(holds(each, context) for each in found)
    assert not all(holds(each, context | {"b": ("3",)}) for each in found)


@pytest.mark.parametrize("operator", ["StringResembles", "ForSomeValues:StringEquals"])
def test_an_unknown_operator_is_an_error(operator: str) -> None:
    with pytest.raises(PolicyError, match=operator):
        parse_conditions({operator: {"aws:Key": "1"}})


# ---- patterns


def test_wildcards_match_any_text_and_one_character() -> None:
    assert matches("s3:Get*", "s3:GetObject")
    assert matches("S3:GETOBJECT", "s3:GetObject", ignore_case=True)
    assert not matches("s3:Get?", "s3:GetObject")
    assert matches("secret:name-??????", "secret:name-aB3xYz")
    assert matches("a${*}b", "a*b")
    assert not matches("a${*}b", "axb")


def test_a_wildcard_stays_within_its_part_of_an_arn() -> None:
    assert arn_matches("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a/b:c")
    assert not arn_matches("arn:aws:sqs:*:queue", "arn:aws:sqs:eu-west-1:123456789012:queue")
    assert not arn_matches("arn:aws:emr:*:*:cluster/*", "*")


def test_variables_are_replaced_by_the_values_of_the_request() -> None:
    context: Context = {"aws:username": ("carlos",)}
    assert expanded("home/${aws:username}/*", context) == "home/carlos/*"
    assert expanded("home/${aws:PrincipalTag/team}", context) is None
    assert expanded("home/${aws:PrincipalTag/team, 'company-wide'}", context) == "home/company-wide"
