"""XMP of a source to XMP of its result: corrected, and with an entry in its history.

Documents are read as they are, without entities or types of their own, so nothing in them can grow
or lead elsewhere.
"""

from collections.abc import Iterator, Mapping
from xml.dom import DOMException
from xml.dom.minidom import Attr, Document, Element, parseString
from xml.parsers.expat import ExpatError

from superres.imaging.metadata.model import Policy

MOST_BYTES = 1 << 20
"""Of a packet that is read; as a tree it takes 200 times as much."""
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_TIFF, _EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
_XMP, _MM = "http://ns.adobe.com/xap/1.0/", "http://ns.adobe.com/xap/1.0/mm/"
_EVENT = "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
_PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
_CORE = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_XMLNS = "http://www.w3.org/2000/xmlns/"
_PANORAMA = "http://ns.google.com/photos/1.0/panorama/"
# What these speak of lies behind the picture in the source's file: gain maps, videos, more XMP.
_OF_OTHER_CONTENT = frozenset(
    [
        "http://ns.google.com/photos/1.0/container/",
        "http://ns.google.com/photos/1.0/container/item/",
        "http://ns.google.com/photos/1.0/camera/",
        "http://ns.adobe.com/hdr-gain-map/1.0/",
        "http://ns.adobe.com/xmp/note/",
    ]
)
_LOCATIONS = frozenset(
    [
        *((_PHOTOSHOP, name) for name in ("City", "State", "Country")),
        *((_CORE, name) for name in ("Location", "CountryCode")),
        *((_EXTENSION, name) for name in ("LocationCreated", "LocationShown")),
    ]
)
_HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"/></x:xmpmeta>'

_Name = tuple[str | None, str | None]


def corrected(
    xmp: bytes | None,
    policy: Policy,
    size: tuple[int, int],
    factors: tuple[float, float],
    history: Mapping[str, str],
) -> bytes:
    """The XMP packet of a result.

    Args:
        xmp: of the source, if it has any.
        policy: keep or no-location.
        size: width and height of the result.
        factors: by which the upright source was enlarged, horizontally and vertically.
        history: fields of the new entry in the history, by their names in ResourceEvent.

    Raises:
        ValueError: the source's XMP is damaged.
    """
    document = _parsed(_EMPTY.encode() if xmp is None else xmp)
    try:
        root = document.getElementsByTagNameNS(_RDF, "RDF")[0]
        for description in _descriptions(root):
            _correct(description, policy, size, factors)
        _add_history(document, root, history)
        return f'{_HEAD}{_outermost(document).toxml()}<?xpacket end="w"?>'.encode()
    except (IndexError, RecursionError, AttributeError, DOMException) as error:
        raise ValueError(f"the XMP is damaged ({error})") from None


def _parsed(xmp: bytes) -> Document:
    if len(xmp) > MOST_BYTES or b"<!DOCTYPE" in xmp or b"<!ENTITY" in xmp:
        raise ValueError("the XMP is too large, or has a type of its own")
    try:
        return parseString(xmp.strip(b"\0 \r\n\t"))
    except (ExpatError, RecursionError, UnicodeError, ValueError) as error:
        raise ValueError(f"the XMP is damaged ({error})") from None


def _outermost(document: Document) -> Element:
    assert document.documentElement is not None  # it was parsed
    return document.documentElement


def _descriptions(root: Element) -> list[Element]:
    return [node for node in _elements(root) if _name(node) == (_RDF, "Description")]


def _elements(parent: Element) -> Iterator[Element]:
    yield from (node for node in list(parent.childNodes) if isinstance(node, Element))


def _name(node: Element | Attr) -> _Name:
    return node.namespaceURI, node.localName


def _correct(
    description: Element, policy: Policy, size: tuple[int, int], factors: tuple[float, float]
) -> None:
    """Corrects the properties of a description, which are attributes or elements of it."""
    for attribute in list((description.attributes or {}).values()):
        if _goes(_name(attribute), policy):
            description.removeAttributeNode(attribute)
        elif (text := _correction(_name(attribute), attribute.value, size, factors)) is not None:
            attribute.value = text
    for element in _elements(description):
        if _goes(_name(element), policy):
            description.removeChild(element)
            continue
        content = element.firstChild
        if content is not None and len(element.childNodes) == 1 and content.nodeType == 3:
            text = _correction(_name(element), str(content.nodeValue), size, factors)
            if text is not None:
                content.nodeValue = text


def _goes(name: _Name, policy: Policy) -> bool:
    space, local = name
    if space in _OF_OTHER_CONTENT or name == (_XMP, "Thumbnails"):
        return True
    of_place = name in _LOCATIONS or (space == _EXIF and str(local).startswith("GPS"))
    return policy == "no-location" and of_place


def _correction(
    name: _Name, text: str, size: tuple[int, int], factors: tuple[float, float]
) -> str | None:
    """What a property says of the result; None where that is the same."""
    width, height = map(str, size)
    fixed = {
        (_TIFF, "Orientation"): "1",
        **{(_TIFF, "ImageWidth"): width, (_TIFF, "ImageLength"): height},
        **{(_EXIF, "PixelXDimension"): width, (_EXIF, "PixelYDimension"): height},
    }
    if name in fixed:
        return fixed[name]
    space, local = name
    if space == _PANORAMA and str(local).endswith("Pixels") and text.strip().isdecimal():
        across = "Width" in str(local) or "Left" in str(local)
        return str(round(int(text) * factors[0 if across else 1]))
    return None


def _add_history(document: Document, root: Element, fields: Mapping[str, str]) -> None:
    """Appends an entry to the history, after those that are there."""
    histories = document.getElementsByTagNameNS(_MM, "History")
    sequences = histories[0].getElementsByTagNameNS(_RDF, "Seq") if histories else []
    if sequences:
        sequence = sequences[0]
    else:
        description = _child(document, root, _RDF, "rdf:Description")
        description.setAttributeNS(_RDF, "rdf:about", "")
        history = _child(document, description, _MM, "xmpMM:History")
        sequence = _child(document, history, _RDF, "rdf:Seq")
    entry = _child(document, sequence, _RDF, "rdf:li")
    entry.setAttributeNS(_RDF, "rdf:parseType", "Resource")
    for name, text in fields.items():
        field = _child(document, entry, _EVENT, f"stEvt:{name}")
        field.appendChild(document.createTextNode(text))


def _child(document: Document, parent: Element, space: str, name: str) -> Element:
    """A new element below another; it declares its prefix itself, whatever stands above it."""
    child = document.createElementNS(space, name)
    child.setAttributeNS(_XMLNS, f"xmlns:{name.partition(':')[0]}", space)
    parent.appendChild(child)
    return child
