//! The initiator: a server's challenges in, tokens for it out, and at the end the proof that it is the server.
