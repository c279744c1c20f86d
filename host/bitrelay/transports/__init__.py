"""One asynchronous interface over every way to reach a peer: TCP, UDP, WebSocket, QUIC, Bluetooth, serial, mesh."""
