"""Which region lies in which: the UN M49 tree of CLDR, which Babel leaves out."""

from __future__ import annotations

# Babel leaves out CLDR's territoryContainment, so its UN M49 tree stands here. Read from unicode-org/cldr-json,
# cldr-core/supplemental/territoryContainment.json (without the groupings and the deprecated codes).
CONTAINMENT = {
    "001": "002 009 019 142 150",
    "002": "011 014 015 017 018",
    "009": "053 054 057 061 QO",
    "019": "005 013 021 029",
    "142": "030 034 035 143 145",
    "150": "039 151 154 155",
    "005": "AR BO BR BV CL CO EC FK GF GS GY PE PY SR UY VE",
    "011": "BF BJ CI CV GH GM GN GW LR ML MR NE NG SH SL SN TG",
    "013": "BZ CR GT HN MX NI PA SV",
    "014": "BI DJ ER ET IO KE KM MG MU MW MZ RE RW SC SO SS TF TZ UG YT ZM ZW",
    "015": "DZ EA EG EH IC LY MA SD TN",
    "017": "AO CD CF CG CM GA GQ ST TD",
    "018": "BW LS NA SZ ZA",
    "021": "BM CA GL PM US",
    "029": "AG AI AW BB BL BQ BS CU CW DM DO GD GP HT JM KN KY LC MF MQ MS PR SX TC TT VC VG VI",
    "030": "CN HK JP KP KR MN MO TW",
    "034": "AF BD BT IN IR LK MV NP PK",
    "035": "BN ID KH LA MM MY PH SG TH TL VN",
    "039": "AD AL BA ES GI GR HR IT ME MK MT PT RS SI SM VA XK",
    "053": "AU CC CX HM NF NZ",
    "054": "FJ NC PG SB VU",
    "057": "FM GU KI MH MP NR PW UM",
    "061": "AS CK NU PF PN TK TO TV WF WS",
    "143": "KG KZ TJ TM UZ",
    "145": "AE AM AZ BH CY GE IL IQ JO KW LB OM PS QA SA SY TR YE",
    "151": "BG BY CZ HU MD PL RO RU SK UA",
    "154": "AX CQ DK EE FI FO GB GG IE IM IS JE LT LV NO SE SJ",
    "155": "AT BE CH DE FR LI LU MC NL",
    "QO": "AC AQ CP DG TA",
}
CONTAINMENT_SOURCE = "unicode-org/cldr-json @ a198dbf17e1d2314a76b84b30904b87a5f8618bb"
