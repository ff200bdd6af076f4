"""Owns the words by which servers say what is wrong, from RFC 5321, RFC 3463 and providers' documented replies.

Order matters: what is specific stands before what is general ("blocked using spamhaus" names a list, though it
contains "spam"). Each line is a set of alternatives, matched without regard to case.
"""

import re

_PHRASES: tuple[tuple[str, str], ...] = (
    (
        "virus",
        r"\b(?:virus|malware|trojan|worm)\b(?! ?-?(?:scan|service|engine|check|protect))|infected|eicar",
    ),
    (
        "expired",
        r"(?:delivery|message|retry|queue)[\w ]{0,20}(?:time ?(?:out)?|timeout)?[\w ]{0,12}expired|message expired"
        r"|retr(?:y|ies)[\w ]{0,20}(?:exceeded|exhausted)|in the queue too long|queue(?:d)? (?:too|for too) long"
        r"|(?:undeliver|not be delivered|could not deliver|been trying)[^.\n]{0,60}(?:for|within|after|in)"
        r"[^.\n]{0,25}\d+ ?(?:hour|day|h\b|d\b)"
        r"|too many (?:delivery )?attempts|giving up after|maximum delivery time"
        r"|not (?:be )?deliver[^.\n]{0,20}for the last \d+ ?(?:seconds|minutes|hours|days)",
    ),
    (
        "sender-rejected",
        r"sender (?:address |domain |e-?mail |account )?(?:is |was |has been )?(?:rejected|denied|refused|invalid"
        r"|blocked|unknown|not (?:allowed|accepted|found|exist|verified)|verif(?:y|ication) failed|does|suspended"
        r"|disabled)"
        r"|(?:invalid|bad|unknown|unverified|unacceptable|illegal) (?:envelope[ -])?(?:sender|return[ -]path"
        r"|mail from)"
        r"|could not verify (?:the )?sender|domain of (?:the )?sender"
        r"|(?:mail|envelope)[ -]?from[^.\n]{0,40}(?:rejected|refused|denied|not (?:allowed|exist|accepted)"
        r"|invalid)"
        r"|sender'?s? (?:address|domain)[^.\n]{0,40}(?:not|reject|refus|invalid|unresolv)"
        r"|(?:your|this) (?:e-?mail )?address[^.\n]{0,30}(?:is|has been) blacklisted"
        r"|(?:null|empty) (?:sender|return[ -]path)|blocked sender|sender[ -]?id .{0,20}not",
    ),
    (
        "auth-failure",
        r"\bspf\b|\bdkim\b|\bdmarc|\barc\b seal|reverse[- ](?:dns|lookup|mapping|hostname|record)|\br-?dns\b"
        r"|\bfcrdns\b|\bptr\b|unauthenticated (?:mail|e-?mail|sender|message)|sender authentication"
        r"|not pass authentication|no matching a/aaaa|cannot find your (?:reverse )?hostname"
        r"|(?:helo|ehlo)[^.\n]{0,40}(?:resolve|match|fqdn|fully)"
        r"|(?:client |your )?host ?name?[^.\n]{0,30}(?:not|n't) (?:be )?(?:resolve|verified)|\bforg(?:ed|ery)\b"
        r"|authenticat\w+ (?:check|result|failure|failed)|(?:fail|pass)\w*[^.\n]{0,30}\bauthenticat"
        r"|sender policy framework|(?:smtp )?authentication (?:is )?required|requires authentication"
        r"|turn on (?:smtp )?authentication|sender has no [^.\n]{0,20}\bmx\b",
    ),
    (
        "mailbox-full",
        r"(?:mail ?box|in-?box|user|account|recipient|address|alias|customer|person)[^.\n]{0,60}\b(?:full\b"
        r"|over ?-?quota|exceed(?:s|ed|ing)?\b[^.\n]{0,40}(?:quota|storage|limit|size))"
        r"|over ?-?quota|quota[^.\n]{0,30}(?:exceed|full|reached|violat)|exceed[^.\n]{0,30}quota"
        r"|mailbox (?:is )?full|mailbox size limit|out of (?:storage|disk) space"
        r"|(?:insufficient|not enough)[^.\n]{0,20}(?:space|storage)[^.\n]{0,20}(?:mailbox|user|recipient)"
        r"|voll\b.{0,20}postfach|postfach.{0,20}voll",
    ),
    (
        "too-large",
        r"(?:message|mail|content|data|attachment|header)[^.\n]{0,30}(?:too (?:large|big|long)|size"
        r"[^.\n]{0,20}exceed|exceed[^.\n]{0,40}(?:size|limit|maximum|length))"
        r"|size limit|exceeds[^.\n]{0,30}(?:maximum|fixed|allowed|size)|maximum (?:message )?size",
    ),
    (
        "greylist",
        r"\bgr[ae]y-?\s?list|postgrey|\bgreylst\b|temporar\w+ (?:block|reject|delay)ed for first|graylst",
    ),
    (
        "throttled",
        r"too many (?:concurrent |simultaneous |open |smtp )?(?:connections|messages|mails|e-?mails|recipients"
        r"|sessions)"
        r"|rate[- ]?limit|throttl|\bTSS?\d\d\b|unexpected volume|unusual rate"
        r"|(?:sending|receiving)[^.\n]{0,40}(?:too (?:fast|quickly|much|many)|at a rate|rate that)"
        r"|exceeded[^.\n]{0,40}(?:rate|connection|messages?|per hour|per day|hourly|daily|threshold)"
        r"|connection (?:rate|limit)|concurren\w+ (?:connection|limit)|mail flood|slow down"
        r"|per[- ](?:hour|minute|second|day) (?:message )?(?:receive )?limit|too much mail",
    ),
    (
        "relay-denied",
        r"relay(?:ing)?(?: is| was| access)?(?: currently)? ?(?:denied|not (?:permitted|allowed|authori[sz]ed)"
        r"|prohibited|disallowed)"
        r"|(?:unable|not (?:permitted|allowed|authori[sz]ed)|do(?:es)? not|cannot|won't|refus\w+) (?:to )?relay"
        r"|no relaying|rcpthosts|not a relay|relay(?:ing)? (?:mail )?(?:attempt|for)"
        r"|authentication required for relay",
    ),
    (
        "reputation-block",
        r"(?:block|black|deny|drop|bad)[- ]?list|\bd?n?s?rbl\b|\bdnsbl\b|\bdul\b|spamhaus|barracuda|spamcop"
        r"|\bsorbs\b|senderbase|sender ?score|abuseat|uceprotect|invaluement|backscatterer|reputation"
        r"|blocked (?:using|by|because)[^.\n]{0,80}\.(?:org|net|com)"
        r"|(?:\bips?\b|host|client|network|server|connection|subnet|domain)[^.\n]{0,50}(?:is |been |was "
        r"|are )?(?:blocked|banned|blacklisted|listed (?:in|at|by|on))"
        r"|(?:banned|blocked|bad) (?:sending )?(?:ip|host|server|domain)"
        r"|dynamic(?:ally)?[- ](?:ip|assigned|allocated|address)|dial-?up"
        r"|connections? (?:not accepted|refused|rejected) (?:from|due)[^.\n]{0,60}(?:ip|abuse|polic|reputation)"
        r"|untrusted (?:ip|host|network)|service refused[^.\n]{0,20}client host"
        r"|(?:mail|messages?|connections?|e-?mails?) from (?:your|this|the) (?:\w+ ){0,2}(?:ip|host|server"
        r"|network|domain|address)[^.\n]{0,40}(?:block|reject|refus|denied|not accept)"
        r"|your (?:\w+ ){0,2}(?:ip|host|server|network)\b[^.\n]{0,40}(?:block|reject|refus|denied|not (?:allowed"
        r"|permitted|accepted)|abus)"
        r"|spam source"
        r"|\bip (?:address )?[\[(]?\d+\.\d+\.\d+\.\d+[^.\n]{0,40}(?:block|reject|refus|denied|banned|listed)",
    ),
    (
        "inactive",
        r"(?:account|mail ?box|user|recipient|address|customer|subscription|domain)[^.\n]{0,50}\b(?:disabled"
        r"|suspended|inactive|in-active|deactivated|de-activated|not active|isn't active|frozen|locked|abandoned"
        r"|dormant|discontinued|terminated|cancel+ed|closed|has expired|on hold|not enabled|gesperrt|deaktiviert"
        r"|désactivé|desactivad[oa])\b"
        r"|(?:disabled|suspended|inactive|closed|locked|expired|deactivated|discontinued) (?:mail ?box|account"
        r"|user|recipient|address)"
        r"|(?:account|compte)[^.\n]{0,40}\b(?:is|est) (?:blocked|bloqu)"
        r"|not (?:been )?(?:logged|accessed)[^.\n]{0,40}(?:days|months)",
    ),
    (
        "recipient-filter",
        r"recipient[^.\n]{0,50}(?:only accept|not accept(?:ing)? (?:mail|e-?mail|message|your)|has blocked"
        r"|preferences|has chosen|refuses|declin|white ?list|restrict)"
        r"|(?:user|customer|owner|mailbox)[^.\n]{0,40}(?:only accept|not accept(?:ing)? (?:mail|e-?mail|message)"
        r"|has (?:blocked|rejected|chosen)|preferences|refuses|restricted)"
        r"|(?:blocked|rejected|refused) by (?:the )?(?:recipient|user|mailbox owner|customer)|delivery restrict"
        r"|\bRESOLVER\.RST\b"
        r"|not ?auth(?:orized|enticated)? (?:for|to send)[^.\n]{0,30}(?:recipient|group|list|mailbox)"
        r"|sender not authenticated|RecipientRestrict|user[- ]defined (?:rule|filter)"
        r"|not (?:on|in) (?:the |their |my |his |her |your )?(?:allow|white|approved|safe)"
        r"|private (?:list|mailbox)",
    ),
    (
        "moved",
        r"(?:mail ?box|in-?box|user|account|recipient|address|alias|customer|person)"
        r"[^.\n]{0,30}\b(?:has (?:been )?moved|moved to|has changed|was changed)"
        r"|new (?:e-?mail )?address is|(?:has|have) (?:a )?(?:new|changed)[^.\n]{0,20}(?:e-?mail|address)"
        r"|user not local[;,] please try|moved permanently|address (?:has )?changed"
        r"|please (?:use|try)[^.\n]{0,30}(?:instead|new address)",
    ),
    (
        "bad-domain",
        r"(?:host|domain)(?: name)?(?: or domain(?: name)?)? (?:is |was )?(?:not found|unknown|invalid"
        r"|does not (?:exist|resolve|receive)|doesn't exist|unresolvable|non-?exist)"
        r"|(?:unknown|no such|invalid|non-?existent|bad|illegal|unrouteable|unroutable)(?: mail| destination"
        r"| recipient)? (?:host|domain|system)"
        r"|couldn't find any host|find a mail exchanger|\bnxdomain\b|null ?mx"
        r"|no (?:valid |usable |working )?(?:mx\b|mail ?(?:server|exchanger|host))"
        r"|does(?: not|n't) accept (?:any )?(?:e-?)?mail(?:\b|$)|point to non-?existent"
        r"|domain[^.\n]{0,40}(?:not (?:exist|hosted|found|local|accept|configured)|no longer)"
        r"|not accept mail for (?:this|that) domain",
    ),
    (
        "unknown-user",
        r"unknown[ -](?:local[ -]?(?:part|user)|recipient|mail ?box|address|account|user|rcpt)"
        r"|(?:user|recipient|mailbox|address|account)[ -]?(?:is |was )?unknown"
        r"|no such (?:\w+ )?(?:user|recipient|mail ?box|address|person|account|customer|name)"
        r"|(?:mail ?box|in-?box|user|account|recipient|address|alias|customer|person)[^\n]{0,70}\b(?:(?:does|did"
        r"|do|could|can|is|was|has)\s?(?:not|n't|nt|no longer|never)|doesn?'?t|not"
        r"|non?-?) ?(?:\w+ ){0,2}(?:exist\w*|found|known|recogni[sz]ed|valid|listed|registered|have (?:a|an"
        r"|any)\b|available|present)"
        r"|(?:invalid|bad|illegal|nonexistent|non-existent|incorrect|unrouteable|undeliverable"
        r"|wrong) (?:recipient|mail ?box|user|address|rcpt|local part|destination mailbox|e-?mail address"
        r"|to address)"
        r"|(?:recipient|address|mailbox|user) (?:is |was )?(?:invalid|undeliverable)"
        r"|no (?:mail ?box|account|user|recipient)s?\b(?! quota)[^.\n]{0,20}(?:here|by that|with|found|named"
        r"|exist|for|at|$)"
        r"|recip(?:ient)?notfound|nosuchuser|not our (?:customer|user)|access denied\. ?as\(2018"
        r"|address rejected: access denied|mailbox (?:unavailable|name not allowed|not available)"
        r"|no longer (?:valid|works|employed|in use|exists|accepts|on this server|with (?:us|the company))"
        r"|(?:user|recipient|address) (?:address )?rejected: (?:user|unknown|undeliver|no|recipient|mailbox"
        r"|address)"
        r"|(?:can't|cannot|could not|unable to) (?:find|verify|validate|locate)[^.\n]{0,20}(?:recipient|user"
        r"|mailbox|address)"
        r"|name not found in directory|not a (?:valid|known|local)[^.\n]{0,12}(?:user|mailbox|recipient|address)"
        r"|(?:account|mailbox|user|address)[^.\n]{0,30}(?:has been |was |is )(?:deleted|removed)|nonexist"
        r"|no such destination|unknown or illegal alias|account unavailable"
        r"|(?:empfänger|benutzer|adresse|postfach)[^.\n]{0,40}(?:unbekannt|nicht (?:gefunden|bekannt|vorhanden)"
        r"|existiert nicht)"
        r"|utilisateur inconnu|(?:destinataire|adresse|boîte)[^.\n]{0,40}(?:inconnu|inexistant|n'existe)"
        r"|(?:usuario|destinatario|buzón|cuenta|usuário|conta|caixa)[^.\n]{0,40}(?:desconocid|no existe|inexist"
        r"|não existe|desconhecid)"
        r"|(?:utente|casella|destinatario)[^.\n]{0,40}(?:sconosciut|inesistente)"
        r"|宛先不明|用户不存在|收件人不存在|not listed in"
        r"|no such id\b|recipient (?:is |was )?unrecogni[sz]ed|cannot deliver mail for|recipient address rejected\W*$"
        r"|verify (?:recipient|address) failed|recipient verif\w+ failed|isn't a valid",
    ),
    (
        "spam-content",
        r"\bspam\b|\bjunk\b|unsolicited|bulk (?:mail|e-?mail|message)|phish|\bub[em]\b|\buce\b|bayes"
        r"|spam[ -]?(?:score|like|assassin|filter)|suspicious|high probability|surbl|uribl"
        r"|(?:blocked|rejected|refused)[^.\n]{0,30}(?:content|url|link)"
        r"|content[^.\n]{0,30}(?:rejected|blocked|filter|reject)|looks like|advertis|blacklisted (?:url|link)"
        r"|fraud",
    ),
    (
        "content-rejected",
        r"attachment|(?:banned|forbidden|blocked|prohibited) (?:file|content|extension|mime)|\bmime\b"
        r"|bare (?:lf|cr|line)|encrypt"
        r"|(?:invalid|malformed|missing|bad|improper|duplicate|illegal|multiple)[^.\n]{0,25}(?:header|from:|date"
        r"|subject|message-id|mime|syntax of message)"
        r"|header[^.\n]{0,40}(?:invalid|malformed|missing|syntax)|charset|8-?bit|file type|executable"
        r"|rfc ?[25]?82?22?[^.\n]{0,20}(?:complian|violat|format)|conver(?:t|sion)",
    ),
    (
        "network",
        r"connection[^.\n]{0,30}(?:refused|reset|timed? ?out|lost|dropped|closed|failed|interrupted)|timed? ?out"
        r"|network[^.\n]{0,20}(?:unreachable|error|problem|down)|no route|\btls\b|\bssl\b|certificate|starttls"
        r"|\bdns\b|name ?server|name service error|lookup (?:fail|error)|unreachable|lost connection"
        r"|(?:mail|routing|forwarding)[- ]?loop|too many hops|loops? back|looping|hop count"
        r"|(?:could|can|did) ?(?:not|n't) (?:be )?(?:connect|establish|reach)"
        r"|unable to (?:connect|establish|reach|resolve)|broken pipe|not respond|no answer|host is down"
        r"|cannot (?:connect|resolve)",
    ),
    (
        "system-error",
        r"(?:internal|system|local|server|software|database|backend|i/o|configuration|unexpected|scanner"
        r"|temporary|temp\.?)[ -](?:\w+ )?(?:error|problem|failure|fault|unavailab\w+)"
        r"|(?:system|disk|storage)[^.\n]{0,20}(?:full|space)"
        r"|insufficient[^.\n]{0,20}(?:storage|resource|disk|memory)|out of memory"
        r"|service (?:\w+ )?(?:unavailable|not available)|temporarily (?:unavailable|unable|reject|defer)"
        r"|temporar\w+ (?:failure|error)|server (?:\w+ )?busy|queue file|misconfigur|not properly configured"
        r"|can(?:'t|not) (?:open|create|write|append|fork|exec)|permission denied"
        r"|unable to (?:process|write|open|create|deliver|complete)|resources? temporarily|aborted"
        r"|exited? (?:with )?(?:status|code)|died on signal|shutting down|requested action aborted"
        r"|local delivery failed|transaction failed",
    ),
    (
        "protocol-error",
        r"syntax error|bad sequence|command[^.\n]{0,20}(?:not|unrecogni|unknown|out of|reject|unimpl)"
        r"|unrecogni[sz]ed (?:command|parameter)|unimplemented|need (?:mail|rcpt|helo)"
        r"|invalid (?:command|argument|parameter)|must issue|line too long|out of (?:order|sequence)"
        r"|(?:helo|ehlo) (?:first|required)|polite people|pipelining|parameters? not",
    ),
    (
        "policy",
        r"polic(?:y|ies)|not (?:authori[sz]ed|permitted|allowed|accepted)|access (?:is )?denied|prohibited"
        r"|administrative|\bgeo|countr(?:y|ies)|refused|rejected|restricted|forbidden|denied|unacceptable|blocked"
        r"|security",
    ),
)

PHRASES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (category, re.compile(pattern, re.IGNORECASE)) for category, pattern in _PHRASES
)
