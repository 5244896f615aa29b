"""
Refusals, with the gateway's wording where it was recorded.

Recorded or in the documents: -27, -28, -99 (three wordings), -101, -300, -306. The messages of the
others are our own; only their codes are known.
"""

from __future__ import annotations

from every8d_async.simulator._values import Refusal

# The three wordings of -99: a caught exception in JSON, the documents' sample of a comma reply, and
# the captured one, which starts with a space. It is what a comma reply stumbles with.
EXCEPTION = Refusal(-99, "發生例外錯誤")
UNKNOWN = Refusal(-99, "發生不明錯誤")
UNKNOWN_AT_HOST = Refusal(-99, " 主機端發生不明錯誤，請與廠商窗口聯繫。")

NO_CREDENTIALS = Refusal(-300, "帳號密碼不得為空")
NO_SUCH_ACCOUNT = Refusal(-100, "無此帳號")
WRONG_PASSWORD = Refusal(-101, "密碼錯誤")
ACCOUNT_LOCKED = Refusal(-999, "帳號已被鎖定")

NO_NUMBER = Refusal(-27, "電話號碼不得為空")
EMPTY_LIST = Refusal(-41, "無發送門號")
NO_TEXT = Refusal(-24, "簡訊內容不得為空")
# The text says 12 digits; 14 are meant.
BAD_TIME = Refusal(-28, "The sendTime format error: yyyyMMddHHmm")
NO_CHANNEL = Refusal(-290, "無預設活動頻道")
REPEATED_REFERENCE = Refusal(-1, "參數錯誤：Mr 重複")

NO_SUBJECT = Refusal(-303, "MMS主旨不得為空")
LONG_SUBJECT = Refusal(-303, "MMS主旨超過長度限制")
NO_PICTURE = Refusal(-304, "MMS圖片不得為空")
BAD_PICTURE = Refusal(-304, "MMS圖片格式錯誤")
NO_PICTURE_TYPE = Refusal(-305, "MMS圖片類型不得為空")
BAD_PICTURE_TYPE = Refusal(-305, "MMS圖片類型不符")
TOO_LARGE = Refusal(-314, "MMS圖文大小超過限制")

NO_SUCH_BATCH = Refusal(-3, "無此批次")
BATCH_LEAVING = Refusal(-8, "目前無法取消")
BATCH_GONE = Refusal(-4, "該批次已取消或已發送")


def bad_numbers(numbers: list[str]) -> Refusal:
    """List the numbers whose form is wrong after a colon, as they were written."""
    return Refusal(-306, "手機格式不符:" + ",".join(numbers))
