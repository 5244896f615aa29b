"""
What the gateway's numbers mean, in English and Chinese.

A refusal's code means something only with its operation: -3 ends a cancel, but would be a puzzle on
a send. `KNOWN` therefore goes by kind of operation.
"""

from enum import IntEnum

SEND, CANCEL, QUERY = "send", "cancel", "query"

UNKNOWN_ERROR = -99
LOCKED = -999
WRONG_LOGIN = (-100, -101, -300)

_ANYWHERE = {
    UNKNOWN_ERROR: ("an unknown error at the gateway", "閘道端發生不明錯誤"),
    -100: ("no such account", "查無此帳號"),
    -101: ("the password is wrong", "密碼不正確"),
    -300: ("account and password are missing", "未提供帳號及密碼"),
    LOCKED: (
        "the account is locked, as after too many failed logins",
        "帳號已被鎖定，例如登入失敗次數過多",
    ),
}

KNOWN: dict[str, dict[int, tuple[str, str]]] = {
    SEND: {
        -24: ("the text is empty", "簡訊內容是空的"),
        -27: ("the mobile number is missing", "缺少手機號碼"),
        -28: ("a sending time has a bad format", "預約時間的格式不對"),
        -41: ("there is no mobile number", "沒有任何手機號碼"),
        -290: ("the account has no default event channel", "帳號沒有預設的活動頻道"),
        -303: ("the MMS subject is missing", "缺少多媒體簡訊的主旨"),
        -304: ("the MMS picture is missing", "缺少多媒體簡訊的圖片"),
        -305: ("the picture's type is missing", "缺少圖片的格式"),
        -306: ("a mobile number is bad; the message names it", "手機號碼不正確，訊息中有列出"),
        -314: ("picture and text are too large", "圖片與文字合計過大"),
    },
    CANCEL: {
        -3: ("there is no such batch", "查無此批次"),
        -4: ("the batch was cancelled before, or has gone out", "該批次先前已取消，或已經發出"),
        -8: ("the batch can't be cancelled right now; try again later", "目前無法取消，請稍後再試"),
    },
    QUERY: {},
}

_UNLISTED = ("a code that is not listed", "未列出的代碼")


def describe(operation: str, code: int) -> tuple[str, str]:
    """Say what a refusal's code means for an operation, in English and Chinese."""
    found = KNOWN[kind_of(operation)].get(code) or _ANYWHERE.get(code)
    if found is None and code > 0:
        return f"HTTP status {code}", f"HTTP 狀態 {code}"
    return found or _UNLISTED


def kind_of(operation: str) -> str:
    """Give the kind of an operation: SEND, CANCEL or QUERY."""
    name = operation.rpartition(".")[2]
    if name.startswith("send"):
        return SEND
    return CANCEL if name == "cancel" else QUERY


class DeliveryStatus(IntEnum):
    """
    What became of a message (annex 1).

    Codes that the official text does not list are `UNKNOWN`, but for a few that others have met
    (107, 888); the report's `code` keeps the number.
    """

    UNKNOWN = -(2**31)
    MMS_UNSUPPORTED = -10
    BAD_NUMBER = -8
    TOO_LONG = -5
    OVERDUE = -4
    BLOCKED_BY_RECIPIENT = -3
    BAD_CREDENTIALS = -2
    BAD_PARAMETER = -1
    HANDED_TO_CARRIER = 0
    DELIVERED = 100
    PHONE_UNREACHABLE = 101
    CARRIER_FAULT = 102
    NUMBER_INVALID = 103
    CARRIER_BLACKLIST = 104
    CARRIER_BLOCKED_TEXT = 105
    PLATFORM_BLOCKED_TEXT = 106
    DELIVERED_LATE = 107
    SCHEDULED = 300
    NO_CREDIT = 301
    CANCELLED = 303
    FOREIGN_DISABLED = 500
    MMS_SENT = 700
    TEST_MODE = 888
    REPLY = 999

    @classmethod
    def _missing_(cls, value: object) -> "DeliveryStatus":  # noqa: ARG003 - the enum's protocol
        return cls.UNKNOWN

    @property
    def description(self) -> str:
        """Say what it means, in English."""
        return _STATUSES[self][0]

    @property
    def description_zh(self) -> str:
        """Say what it means, in Chinese."""
        return _STATUSES[self][1]


_STATUSES = {
    DeliveryStatus.UNKNOWN: ("a status that is not listed", "未列出的狀態"),
    DeliveryStatus.MMS_UNSUPPORTED: ("the phone can't take MMS", "手機無法接收多媒體簡訊"),
    DeliveryStatus.BAD_NUMBER: ("the number has a bad format", "手機號碼格式不正確"),
    DeliveryStatus.TOO_LONG: ("the text is too long", "簡訊內容過長"),
    DeliveryStatus.OVERDUE: ("it was more than 24 hours overdue", "超過預定時間 24 小時以上"),
    DeliveryStatus.BLOCKED_BY_RECIPIENT: (
        "the number is on the interaction blacklist",
        "號碼列在互動黑名單中",
    ),
    DeliveryStatus.BAD_CREDENTIALS: ("account or password is wrong", "帳號或密碼不正確"),
    DeliveryStatus.BAD_PARAMETER: ("a parameter is wrong", "參數有誤"),
    DeliveryStatus.HANDED_TO_CARRIER: (
        "handed to the carrier, waiting for the phone",
        "已交給電信業者，等手機接收",
    ),
    DeliveryStatus.DELIVERED: ("delivered to the phone", "手機已收到"),
    DeliveryStatus.PHONE_UNREACHABLE: (
        "the phone is off, has no signal, or is full",
        "手機關機、收訊不良或空間不足",
    ),
    DeliveryStatus.CARRIER_FAULT: ("a fault in the carrier's network", "電信業者的網路異常"),
    DeliveryStatus.NUMBER_INVALID: (
        "the number is wrong, unused or suspended",
        "號碼錯誤、空號或停用",
    ),
    DeliveryStatus.CARRIER_BLACKLIST: (
        "the number is on the carrier's blacklist",
        "號碼列在電信業者的黑名單中",
    ),
    DeliveryStatus.CARRIER_BLOCKED_TEXT: (
        "the carrier blocked the text",
        "電信業者擋下了簡訊內容",
    ),
    DeliveryStatus.PLATFORM_BLOCKED_TEXT: (
        "the platform blocked the text",
        "簡訊平台擋下了簡訊內容",
    ),
    DeliveryStatus.DELIVERED_LATE: ("delivered late", "手機較晚才收到"),
    DeliveryStatus.SCHEDULED: ("scheduled, not gone out yet", "已預約，尚未發出"),
    DeliveryStatus.NO_CREDIT: ("not sent: the credit ran out", "點數不足，沒有發出"),
    DeliveryStatus.CANCELLED: ("the schedule was cancelled", "預約已取消"),
    DeliveryStatus.FOREIGN_DISABLED: (
        "a foreign number, and the account does not send abroad",
        "國際門號，但帳號未開啟國際簡訊",
    ),
    DeliveryStatus.MMS_SENT: ("the MMS was sent", "多媒體簡訊已發出"),
    DeliveryStatus.TEST_MODE: ("the account is in test mode", "帳號為測試模式"),
    DeliveryStatus.REPLY: ("a reply from the phone", "手機的回覆"),
}
