"""Why a signed record was refused: one named reason each, to count and to show."""

import enum


class Refusal(enum.Enum):
    """The first rule a record broke; the text completes "refused: "."""

    MALFORMED = "not the canonical bytes of a record"
    WRONG_KIND = "a record of another kind"
    BAD_SIGNATURE = "the signature does not verify"
    NO_CHARTER = "the network's charter is not known yet"

    NOT_FOUNDER = "the network id is not the hash of the first authority's key"
    NOT_AUTHORITY = "the signer is no authority of the network"
    CHARTER_GAP = "charters before it are missing"
    CHARTER_FORK = "another charter of this version is in force"
    TOO_MANY_CHARTERS = "more charters than a network may have"
    WRONG_NETWORK = "it belongs to another network"
    ADDRESS_SPACE = "the address space is not usable, or another than before"

    UNKNOWN_SIGNER = "the signer is neither an authority nor a known issuer"
    WRONG_ISSUER = "the certificate is not signed by the issuer beside it"
    NEEDLESS_ISSUER = "an authority certified it, yet an issuer is beside it"

    NOT_YET_VALID = "not valid yet"
    EXPIRED = "no longer valid"
    BAD_VALIDITY = "it ends before it begins"

    LIFETIME = "valid for longer than the issuer may grant"
    OUTLIVES_ISSUER = "valid before or after its issuer is"
    BAD_ADDRESS = "the IPv4 address is no host of the network"
    ADDRESS_NOT_GRANTED = "the IPv4 address or pool is not the issuer's to give"
    GROUP_NOT_GRANTED = "a group the issuer may not grant"
    SUBNET_NOT_GRANTED = "a subnet the issuer may not grant"
    ROLE_NOT_GRANTED = "a role the issuer may not grant"
    RESERVED_SUBNET = "a subnet that is not for members to own"

    BAD_KEY = "a key that is missing, or one where none belongs"
    BAD_STOCK = "not a stock member with one to three gateways"
    NO_MEMBER = "the member's own word is missing"
    WRONG_MEMBER = "not signed by the member it speaks of"
    ROUTE_NOT_GRANTED = "a route outside the certified subnets"


class RecordRefused(Exception):
    """A record was refused as a whole and changed nothing; `reason` says why."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason
