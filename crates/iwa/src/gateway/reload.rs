//! New configuration on SIGHUP, new keys when the keytab changes. Bad news changes nothing.
