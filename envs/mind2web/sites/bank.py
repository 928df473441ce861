"""A bank: accounts, transfers that are checked and confirmed, bills, cards to freeze, statements by page."""

from __future__ import annotations

from collections.abc import Sequence

from cmat_gym.core.dice import Dice
from cmat_gym.envs.mind2web.records import Db, Follow, Goal, Params, Read, Stage, Submit, Turn
from cmat_gym.envs.mind2web.sites import html
from cmat_gym.envs.mind2web.sites.base import Errand, Form, Site, View, next_id, paged
from cmat_gym.envs.mind2web.sites.words import day, money, person, words

__all__ = ["Bank"]

PAGE = 5
ACCOUNTS = ("checking", "savings", "holiday")


class Bank(Site):
    """One customer's accounts."""

    kind = "bank"
    menu = (("Accounts", "/"), ("Transfer", "/transfer"), ("Bills", "/bills"), ("Cards", "/cards"))

    def build(self, dice: Dice) -> None:
        self.brand = f"{dice.pick(words('companies')).split()[0]} Bank"
        self.balances = {name: dice.integer(200, 5000) * 100 + dice.integer(0, 99) for name in ACCOUNTS}
        self.bills = {
            name: dice.integer(20, 180) * 100 + dice.pick((0, 25, 50)) for name in dice.sample(words("payees"), 4)
        }
        self.cards = {str(dice.integer(1000, 9999)): kind for kind in ("debit card", "credit card", "travel card")}
        self.contacts = list(dict.fromkeys(person(dice) for _ in range(6)))
        shops = dice.sample([f"{city} {kind}" for city in words("cities") for kind in words("places")], 11)
        self.entries = [
            (day(-n - 1), shop, dice.integer(3, 90) * 100 + dice.integer(1, 99)) for n, shop in enumerate(shops)
        ]

    def start(self) -> Db:
        return {"balance": dict(self.balances), "paid": {}, "frozen": {}, "transfers": {}, "_draft": {}}

    def get(self, db: Db, path: list[str], query: Form) -> View:
        match path:
            case [""]:
                rows = [
                    (html.link(f"{name} account", f"/account/{name}"), money(cents))
                    for name, cents in db["balance"].items()
                ]
                return View("Accounts", html.heading("Your accounts") + html.table(("Account", "Balance"), rows))
            case ["account", name] if name in ACCOUNTS:
                entries = self.entries if name == "checking" else []
                entered = [f"{date}: {shop}, {money(cents)}" for date, shop, cents in entries]
                shown, turn = paged(entered, f"/account/{name}", query.get("page", ""), PAGE)
                return View(
                    f"{name} account",
                    html.heading(f"Statement of the {name} account") + html.lines(map(html.escape, shown)) + turn,
                )
            case ["transfer"]:
                return View(
                    "Transfer",
                    html.heading("New transfer")
                    + html.form(
                        "/transfer",
                        html.select("From account", "account", ACCOUNTS, query.get("account", "checking")),
                        html.select(
                            "To", "to", [("", "choose"), *((name, name) for name in self.contacts)], query.get("to", "")
                        ),
                        html.field("Amount in dollars", "amount", query.get("amount", "")),
                        html.field("Reference", "reference", query.get("reference", "")),
                        button="Continue",
                    ),
                )
            case ["confirm"] if draft := db["_draft"]:
                return View(
                    "Confirm",
                    html.heading("Please confirm")
                    + html.para(
                        f"{money(draft['cents'])} from {draft['account']} to {draft['to']}: {draft['reference']}."
                    )
                    + html.form("/confirm", button="Confirm transfer")
                    + html.link("Start again", "/transfer"),
                )
            case ["bills"]:
                bills = [
                    (
                        name,
                        money(cents),
                        "paid"
                        if name in db["paid"]
                        else html.form(
                            f"/pay/{list(self.bills).index(name)}",
                            html.select("From account", "account", ACCOUNTS),
                            button=f"Pay {name}",
                        ),
                    )
                    for name, cents in self.bills.items()
                ]
                return View("Bills", html.heading("Open bills") + html.table(("Bill", "Amount", ""), bills))
            case ["cards"]:
                rows = [
                    (
                        f"{kind} {number}",
                        html.form(
                            f"/freeze/{number}",
                            button=(f"Unfreeze {kind}" if number in db["frozen"] else f"Freeze {kind}"),
                        ),
                    )
                    for number, kind in self.cards.items()
                ]
                return View("Cards", html.heading("Your cards") + html.table(("Card", ""), rows))
        return View("Not found", html.para("This page does not exist."))

    def post(self, db: Db, path: list[str], form: Form) -> str:
        match path:
            case ["transfer"]:
                return self._draft(db, form)
            case ["confirm"] if draft := db["_draft"]:
                db["balance"][draft["account"]] -= draft["cents"]
                db["transfers"][next_id(db["transfers"])] = draft
                db["_draft"] = {}
                db["_note"] = "The transfer was made."
                return "/"
            case ["pay", number]:
                name = list(self.bills)[int(number)]
                db["balance"][form["account"]] -= self.bills[name]
                db["paid"][name] = form["account"]
                return "/bills"
            case ["freeze", number]:
                if db["frozen"].pop(number, None) is None:
                    db["frozen"][number] = True
                return "/cards"
        return "/"

    def _draft(self, db: Db, form: Form) -> str:
        given = {key: form.get(key, "").strip() for key in ("account", "to", "amount", "reference")}
        cents = _cents(given["amount"])
        wrong = (
            "Choose who gets the money."
            if not given["to"]
            else "The amount must look like 12.50."
            if cents is None
            else "There is not enough money on that account."
            if cents > db["balance"][given["account"]]
            else "Please give a reference."
            if not given["reference"]
            else ""
        )
        if wrong or cents is None:
            db["_note"] = wrong
            return html.query("/transfer", **given)
        draft = {key: given[key] for key in ("account", "to", "reference")}
        db["_draft"] = {**draft, "cents": cents}
        return "/confirm"


def _cents(text: str) -> int | None:
    whole, _, part = text.removeprefix("$").partition(".")
    if not (whole.isascii() and whole.isdigit() and len(whole) < 8 and len(part) in (0, 2)):
        return None
    if part and not (part.isascii() and part.isdigit()):
        return None
    return int(whole) * 100 + int(part or 0) or None


class FindPayment(Errand[Bank]):
    """Read a statement, over its pages."""

    level = 2
    wordings = (
        "How much did I pay to '{shop}' from the checking account?",
        "Find the payment to '{shop}' in the checking account: how much was it?",
    )

    def draw(self, site: Bank, dice: Dice) -> Params:
        number = dice.integer(0, len(site.entries) - 1)
        return {"number": number, "shop": site.entries[number][1]}

    def goal(self, site: Bank, params: Params) -> Goal:
        return Goal(answer=money(site.entries[params["number"]][2]))

    def plan(self, site: Bank, db: Db, params: Params) -> Sequence[Stage]:
        page = params["number"] // PAGE + 1
        address = "/account/checking"
        stages: list[Stage] = [Follow("/"), Follow(address), Turn(address, str(page))]
        if page == 1:
            stages.append(Read(address))
        return [*stages, Read(html.query(address, page=page))]


class FreezeCard(Errand[Bank]):
    """Block a card."""

    level = 1
    wordings = ("Freeze my {card} {number}.", "I lost my {card} with the number {number}: freeze it.")

    def draw(self, site: Bank, dice: Dice) -> Params:
        number = dice.pick(list(site.cards))
        return {"number": number, "card": site.cards[number]}

    def goal(self, site: Bank, params: Params) -> Goal:
        return Goal({f"frozen/{params['number']}": True})

    def plan(self, site: Bank, db: Db, params: Params) -> Sequence[Stage]:
        wrong = [number for number in db["frozen"] if number != params["number"]]
        return [Follow("/cards"), Submit(f"/freeze/{wrong[0] if wrong else params['number']}")]


class PayBill(Errand[Bank]):
    """Pay a bill from an account."""

    level = 2
    wordings = (
        "Pay the bill of '{payee}' over {amount} from the {account} account.",
        "Settle the '{payee}' bill ({amount}) with money from {account}.",
    )

    def draw(self, site: Bank, dice: Dice) -> Params:
        payee = dice.pick(list(site.bills))
        return {"payee": payee, "amount": money(site.bills[payee]), "account": dice.pick(ACCOUNTS)}

    def goal(self, site: Bank, params: Params) -> Goal:
        account, payee = params["account"], params["payee"]
        return Goal({f"paid/{payee}": account, f"balance/{account}": site.balances[account] - site.bills[payee]})

    def plan(self, site: Bank, db: Db, params: Params) -> Sequence[Stage]:
        number = list(site.bills).index(params["payee"])
        return [Follow("/bills"), Submit(f"/pay/{number}", {"account": params["account"]})]


class Transfer(Errand[Bank]):
    """Send money."""

    level = 3
    wordings = (
        "Transfer {amount} dollars from the {account} account to '{to}' with the reference '{reference}'.",
        "Send '{to}' {amount} dollars, reference '{reference}', out of my {account} account.",
    )

    def draw(self, site: Bank, dice: Dice) -> Params:
        amount = f"{dice.integer(5, 190)}.{dice.pick(('00', '50', '25'))}"
        return {
            "amount": amount,
            "account": dice.pick(ACCOUNTS),
            "to": dice.pick(site.contacts),
            "reference": dice.pick(words("subjects")),
        }

    def goal(self, site: Bank, params: Params) -> Goal:
        cents, account = _cents(params["amount"]) or 0, params["account"]
        transfer = {"account": account, "to": params["to"], "reference": params["reference"], "cents": cents}
        return Goal(
            {
                **{f"transfers/1/{key}": value for key, value in transfer.items()},
                f"balance/{account}": site.balances[account] - cents,
            }
        )

    def plan(self, site: Bank, db: Db, params: Params) -> Sequence[Stage]:
        fields = {key: params[key] for key in ("account", "to", "amount", "reference")}
        stages: list[Stage] = [Follow("/transfer"), Submit("/transfer", fields)]
        draft = {key: params[key] for key in ("account", "to", "reference")} | {"cents": _cents(params["amount"])}
        return [*stages, Submit("/confirm")] if db["_draft"] == draft else stages


Bank.errands = {
    "find-payment": FindPayment(),
    "freeze-card": FreezeCard(),
    "pay-bill": PayBill(),
    "transfer": Transfer(),
}
