#!/usr/bin/python3
"""Fills a provisioned domain that has not been started yet: accounts, groups, SPNs, DNS names, keytabs.

One process and the database opened once: samba-tool costs half a second a call. /etc/samba and /var/lib/samba are those
of the domain controller (`provision` sees to that). usage: populate.py ACCOUNTS.TSV KEYTABS-DIR
"""
import os
import sys

import ldb
import samba.dckeytab  # gives Net its export_keytab
from samba.auth import system_session
from samba.credentials import Credentials
from samba.dcerpc import security
from samba.ndr import ndr_pack, ndr_unpack
from samba.net import Net
from samba.param import LoadParm
from samba.provision.sambadns import add_host_record
from samba.samdb import SamDB

accounts_file, keytabs = sys.argv[1:]
lp = LoadParm()
lp.load("/etc/samba/smb.conf")
db = SamDB(session_info=system_session(), lp=lp)
BASE = str(db.domain_dn())
DNS = lp.get("realm").lower()
NORMAL, DISABLED, DONT_EXPIRE, NOT_DELEGATED, TRUSTED_TO_AUTH = 0x200, 0x202, 0x10000, 0x100000, 0x1000000

COMPUTERS = 24


def change(dn, controls=None, **values):
    message = ldb.Message(ldb.Dn(db, dn))
    for name, value in values.items():
        name = name.replace("_", "-")
        message[name] = ldb.MessageElement(value if isinstance(value, list) else [value], ldb.FLAG_MOD_REPLACE, name)
    db.modify(message, controls)


def user(name):
    return f"CN={name},CN=Users,{BASE}"


def group(name, *members):
    db.newgroup(name)
    if members:
        db.add_remove_group_members(name, list(members), add_members_operation=True)


def password_policy(name, whom, precedence, **values):
    """A password settings object: passwords and lockout of a few accounts are unlike those of the domain."""
    never = str(-(2**63))
    settings = {
        "objectClass": "msDS-PasswordSettings",
        "msDS-PasswordSettingsPrecedence": str(precedence),
        "msDS-PasswordReversibleEncryptionEnabled": "FALSE",
        "msDS-PasswordHistoryLength": "0",
        "msDS-PasswordComplexityEnabled": "FALSE",
        "msDS-MinimumPasswordLength": "0",
        "msDS-MinimumPasswordAge": "0",
        "msDS-MaximumPasswordAge": never,
        "msDS-LockoutThreshold": "0",
        "msDS-LockoutObservationWindow": "-18000000000",
        "msDS-LockoutDuration": never,
        "msDS-PSOAppliesTo": user(whom),
    }
    settings.update({key.replace("_", "-"): value for key, value in values.items()})
    db.add({"dn": f"CN={name},CN=Password Settings Container,CN=System,{BASE}", **settings})


db.transaction_start()
change(BASE, pwdProperties="0", minPwdLength="0", minPwdAge="0", maxPwdAge="0", lockoutThreshold="0", pwdHistoryLength="0")
with open(accounts_file, encoding="utf-8") as lines:
    accounts = [line.rstrip("\n").split("\t") for line in lines if not line.startswith("#")]
for name, password, *_ in accounts:
    if name.endswith("$"):
        host = name[:-1]
        db.newcomputer(host)
        db.setpassword(f"(sAMAccountName={name})", password, force_change_at_next_login=False)
        change(f"CN={host},CN=Computers,{BASE}", userAccountControl="4096", dNSHostName=f"{host.lower()}.{DNS}",
               msDS_SupportedEncryptionTypes="4" if host == "OLDSRV" else "28")
    else:
        db.newuser(name, password)

# A computer for each test that needs one of its own: Samba keeps one secure channel a computer.
for number in range(1, COMPUTERS + 1):
    db.newcomputer(f"SRV{number:02}")
    db.setpassword(f"(sAMAccountName=SRV{number:02}$)", f"Machine-Pw-{number:02}", force_change_at_next_login=False)
    change(f"CN=SRV{number:02},CN=Computers,{BASE}", userAccountControl="4096", msDS_SupportedEncryptionTypes="24",
           dNSHostName=f"srv{number:02}.{DNS}", servicePrincipalName=[f"HOST/srv{number:02}.{DNS}", f"HOST/SRV{number:02}"])

group("Engineers", "alice", "jörg")
group("AllStaff", "Engineers")
group("Web Admins", "AllStaff")
group("Sales", "bob")
group("Übersetzer", "jörg")
db.newgroup("Local Readers", grouptype=-2147483644)  # a domain local group: a resource group of the PAC
db.add_remove_group_members("Local Readers", ["Engineers"], add_members_operation=True)
db.add_remove_group_members("Protected Users", ["dave"], add_members_operation=True)
for number in range(1, 1011):
    dn = f"CN=Group{number:04},CN=Users,{BASE}"
    db.add({"dn": dn, "objectClass": "group", "sAMAccountName": f"Group{number:04}", "member": user("many")})

change(user("carol"), userAccountControl=str(DISABLED))
# Samba 4.17 does not conclude from Protected Users that an account must not be delegated.
change(user("dave"), userAccountControl=str(NORMAL | NOT_DELEGATED))
change(user("erin"), pwdLastSet="0")
change(user("grace"), accountExpires=str((1262304000 + 11644473600) * 10**7))  # 2010-01-01
change(user("heidi"), logonHours=bytes(21))
change(user("ivan"), userWorkstations="ELSEWHERE")
password_policy("LockAtOnce", "frank", 1, msDS_LockoutThreshold="1")
password_policy("ExpireAfterADay", "judy", 2, msDS_MaximumPasswordAge=str(-864 * 10**9 - 1))  # less than a day is never, says Samba
change(user("judy"), controls=["local_oid:1.3.6.1.4.1.7165.4.3.12:0"], pwdLastSet=str((1262304000 + 11644473600) * 10**7))

# Samba gives an account with SPNs RC4 keys alone unless AES is asked for: 4 RC4, 8 AES128, 16 AES256.
change(user("svc-web"), servicePrincipalName=[f"HTTP/web.{DNS}", "HTTP/web", f"HTTP/app.{DNS}"], msDS_SupportedEncryptionTypes="28")
change(user("svc-backend"), servicePrincipalName=[f"HTTP/backend.{DNS}"], msDS_SupportedEncryptionTypes="28")
change(user("svc-rc4"), servicePrincipalName=[f"HTTP/rc4.{DNS}"], msDS_SupportedEncryptionTypes="4")
change(user("svc-web"), userAccountControl=str(NORMAL | DONT_EXPIRE | TRUSTED_TO_AUTH), msDS_AllowedToDelegateTo=[f"HTTP/backend.{DNS}"])
# Resource-based delegation: APPSRV$ may act for others at svc-backend.
found = db.search(BASE, expression="(sAMAccountName=APPSRV$)", attrs=["objectSid"])
sid = ndr_unpack(security.dom_sid, found[0]["objectSid"][0])
allowed = security.descriptor.from_sddl(f"O:BAD:(A;;CCDCLCSWRPWPDTLOCRSDRCWDWO;;;{sid})", security.dom_sid(db.get_domain_sid()))
change(user("svc-backend"), msDS_AllowedToActOnBehalfOfOtherIdentity=ndr_pack(allowed))
db.transaction_commit()

zone = f"DC={DNS},CN=MicrosoftDNS,DC=DomainDnsZones,{BASE}"
for name, host in [("web", 20), ("app", 20), ("backend", 20), ("rc4", 20), ("member", 30)] + [(f"host{n}", n) for n in range(40, 60)]:
    add_host_record(db, zone, f"DC={name}", f"192.0.2.{host}", f"2001:db8::{host}")

os.makedirs(keytabs, exist_ok=True)
net = Net(Credentials(), lp)
for file, principals in {
    "web": [f"HTTP/web.{DNS}", "HTTP/web", f"HTTP/app.{DNS}", "svc-web"],
    "backend": [f"HTTP/backend.{DNS}"],
    "rc4": [f"HTTP/rc4.{DNS}"],
    "mixed": [f"HTTP/web.{DNS}", f"HTTP/rc4.{DNS}"],
    "rustsrv": ["RUSTSRV$"],
    "appsrv": ["APPSRV$"],
}.items():
    for principal in principals:
        net.export_keytab(keytab=f"{keytabs}/{file}.keytab", principal=principal)
for number in range(1, COMPUTERS + 1):
    net.export_keytab(keytab=f"{keytabs}/srv{number:02}.keytab", principal=f"SRV{number:02}$")
net.export_keytab(keytab=f"{keytabs}/all.keytab")
