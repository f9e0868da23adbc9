"""A name server that knows nothing: empty_dns.py ADDRESS. Every question is answered with NXDOMAIN, by UDP, on port 53."""
import socket
import sys

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    question, client = server.recvfrom(4096)
    # Of the question: its identifier, then "an answer, recursion available, no such name", one question and nothing else.
    end = question.index(0, 12) + 5
    server.sendto(question[:2] + b"\x81\x83\0\1\0\0\0\0\0\0" + question[12:end], client)
