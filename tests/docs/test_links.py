"""Links lead somewhere."""

from urllib.parse import unquote, urlsplit


def test_relative_links_lead_to_files_and_headings(page, pages):
    lost = []
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            continue
        target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
        found = target.exists()
        if found and parts.fragment:
            headings = [p.anchors for p in pages.values() if p.path == target]
            found = any(parts.fragment in anchors for anchors in headings)
        if not found:
            lost.append(link)
    assert not lost


def test_a_picture_has_words_for_those_who_do_not_see_it(page):
    assert all(token.content.strip() for token in page.inline if token.type == "image")


def test_every_page_can_be_reached_from_the_readme(pages):
    reached, ahead = set(), ["README.md"]
    while ahead:
        name = ahead.pop()
        if name in reached or name not in pages:
            continue
        reached.add(name)
        page = pages[name]
        for link in page.links:
            target = (page.path.parent / urlsplit(link).path).resolve()
            ahead += [other.name for other in pages.values() if other.path == target]
    assert reached == set(pages)
