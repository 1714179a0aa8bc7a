"""A shop, and sessions of its people."""

from typing import Any

import requests
import ringfence
from guard_http.places import GOVERNOR
from models.shop import Shop

POLICY = """
models:
  User: { table: public.users, scoping: { tenant_id: principal.tenant_id } }
  Order:
    table: public.orders
    scoping: { tenant_id: principal.tenant_id }
    fields: { organization_id: deny, note: { action: mask, mask_pattern: "{first2}***" } }
    version: version
    relations: { lines: { model: Line, on: { id: order_id }, many: true } }
    write_policy:
      create: allow
      update: allow
      delete: approval
      approvers: [chief]
      auto_set: { tenant_id: principal.tenant_id, user_id: principal.user_id }
      immutable_fields: [tenant_id]
  Line: { table: public.order_lines, scoping: { tenant_id: principal.tenant_id } }
"""

TENANTS = {"ann": ["acme-corp"], "bob": ["globex"], "carol": ["child-tenant"]}


class Office:
    """A shop, and sessions of its people."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.url = shop.places.gateway.url
        self._open: list[ringfence.Session] = []

    def session(self, person: str, **more: Any) -> ringfence.Session:
        session = ringfence.Session(self.url, self.shop.places.keys[person], **more)
        self._open.append(session)
        return session

    def placeholder(self, number: int = 1) -> str:
        return f"{'?' if self.shop.kind == 'sqlite' else '$'}{number}"

    def publish(self, name: str, **document: Any) -> None:
        if "statement" in document:
            document["connection"] = self.shop.connection
        answer = requests.put(
            f"{self.url}/v1/endpoints/{name}",
            json={"name": name, **document},
            headers={"Authorization": f"Bearer {self.shop.places.keys[GOVERNOR]}"},
            timeout=30,
        )
        assert answer.ok, answer.text

    def close(self) -> None:
        for session in self._open:
            session.close()
