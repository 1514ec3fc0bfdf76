"""Words that say nothing: in any text, and in reviews."""

from __future__ import annotations

from typing import Final


def word_set(text: str) -> frozenset[str]:
    """The words of `text`."""
    return frozenset(text.split())


FUNCTION_WORDS: Final = word_set(
    """
    a about above after again against ago all almost alone along already also although always am among an and
    another any anybody anyone anything anyway are aren't around as at away back be became because been before
    being below between both but by came can can't cannot come comes coming could couldn't did didn't do does
    doesn't doing done don't down during each either else enough especially etc even ever every everyone
    everything far few for from further gave get gets getting give given gives go goes going gone got gotten had
    hadn't has hasn't have haven't having he he'll he's her here hers him himself his how however i i'd i'll i'm
    i've if in indeed instead into is isn't it it'll it's its itself just keep kept know known last least let
    let's like likely lot lots made make makes making many may maybe me mean might mine more most much must my
    myself near nearly need needed needs neither never next no nobody none nor not nothing now of off often oh
    ok okay on once one ones only onto or other others our ours out over own per perhaps please put quite rather
    re really said same saw say says see seem seemed seems seen shall she should shouldn't simply since so some
    somebody someone something sometimes somewhat soon still such sure take taken takes taking than that that's
    thats the their them themselves then there there's therefore these they they'd they'll they're they've thing
    things think this those though thought through till to together told too took toward tried tries try trying
    two under until up upon us use used useful user uses using usually very via want wanted wants was wasn't way
    ways we we'd we'll we're we've well went were weren't what what's whatever when where whether which while
    who whole whom whose why will with within without won't would wouldn't yes yet you you'd you'll you're
    you've your yours yourself
    """
)
"""Words of grammar."""

STOP_WORDS: Final = FUNCTION_WORDS | word_set(
    """
    first second third three four five six several couple bit little big small large long short high low new old
    good bad great best better worse worst nice excellent perfect poor terrible awful amazing awesome horrible
    pretty fine easy hard simple happy love loved loves hate hated hates wish hope recommend recommended buy
    bought buying purchase purchased purchasing owned owner return returned ordered received problem problems
    issue issues work works worked working able happen happened day days week weeks month months year years hour
    hours minute minutes time times highly extremely absolutely definitely completely totally probably actually
    basically certainly finally unfortunately different full real right wrong main major overall total amazon
    review reviews people friend friends wife husband product item stuff lol one's isnt dont doesnt didnt cant
    wont im ive id its' worth don look looks looking looked feel feels felt start started find found turn turned
    plus minus set end fast slow quick quickly easily cheap expensive extra free single top bottom live number
    star stars point reason read reading run running play plays playing played allow allows call called calls
    help add added change send sent pay paid decided save hold fact cool deal less carry listen break con com
    amp believe guess otherwise compared figure mentioned answer half spent pleased consider easier difficult
    disappointed experience piece fit replace clear compare replaced luckily complain complained complaint later
    early date today tomorrow yesterday line whenever wherever unless despite basic kind sort type course hand
    access hear heard wait waiting waited watch watching seriously honestly thank thanks willing ask asked leave
    left mind head opinion expect expected realize realized noticed notice impressed satisfied care cost costs
    spend trust
    """
)
"""Words of grammar, and words of opinion and trade that every review has."""
