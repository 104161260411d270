"""Entry of `panel serve app`: runs once for each browser tab."""

from app.session import Session
from app.shell import Shell

Shell(Session()).page.servable()
