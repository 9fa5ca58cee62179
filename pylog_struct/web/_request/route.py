"""The template of the route that a request matched, as its framework noted it: never the path itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["route_of_environ", "route_of_scope"]


def route_of_scope(scope: Mapping[str, Any], root: str) -> str | None:
    """Return the template from an ASGI scope: of Starlette, FastAPI, Litestar or Quart; None without one.

    Args:
        scope: As the application left it.
        root: Its ``root_path`` before the application ran: what came since is a mount's.
    """
    template: Any = scope.get("path_template")  # Litestar's
    if template is None:
        route = _effective(scope)
        template = getattr(route, "path_format", None) or getattr(route, "path", None)
        if isinstance(template, str) and "root_path" in scope:
            below = str(scope["root_path"] or "")
            if len(below) > len(root):
                mount = _mount(below.removeprefix(root), scope, template)
                return mount if hasattr(route, "routes") else f"{mount}{template}"
    return template if isinstance(template, str) and template else None


def _effective(scope: Mapping[str, Any]) -> Any:
    """Return the route; of FastAPI from 0.160 or so on the one that knows the routers it is included in."""
    route = scope.get("route")
    notes = scope.get("fastapi")
    if type(notes) is dict:
        context = notes.get("effective_route_context")
        if context is not None and getattr(context, "original_route", None) is route:
            return getattr(context, "starlette_route", None) or context
    return route


def _mount(prefix: str, scope: Mapping[str, Any], template: str) -> str:
    """Return the path of a mount with the values of its parameters taken out again.

    Starlette has the path that matched, not its template.  A value that is found nowhere in it leaves
    nothing that could be shown.
    """
    parameters = scope.get("path_params") or {}
    segments = prefix.split("/")
    for name, value in parameters.items():
        shown = f"{{{name}}}"
        if shown in template:  # of the route below
            continue
        if str(value) not in segments:
            return ""
        segments = [shown if segment == str(value) else segment for segment in segments]
    return "/".join(segments)


def route_of_environ(environ: Mapping[str, Any]) -> str | None:
    """Return the template from a WSGI environ: of Flask, or of whoever sets ``wsgi.route``; else None."""
    request: Any = environ.get("werkzeug.request")
    rule = getattr(getattr(request, "url_rule", None), "rule", None)
    return rule if isinstance(rule, str) else None
