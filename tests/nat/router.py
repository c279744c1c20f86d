"""A router that opens ports (UPnP IGD 1), as far as a host needs one; run in its namespace: `router.py LAN OUTSIDE`.

It prints each mapping as a line of JSON and keeps none.
"""

import http.server
import json
import socket
import struct
import sys
import threading
import xml.etree.ElementTree as xml

SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"
DEVICE = f"""<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><serviceList><service>
<serviceType>{SERVICE}</serviceType><serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId>
<controlURL>/control</controlURL><eventSubURL>/event</eventSubURL><SCPDURL>/scpd.xml</SCPDURL>
</service></serviceList></device></deviceList></device></deviceList></device></root>"""
ENVELOPE = (
    '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
    '<u:%sResponse xmlns:u="%s">%s</u:%sResponse></s:Body></s:Envelope>'
)


class Handler(http.server.BaseHTTPRequestHandler):
    outside = ""

    def do_GET(self) -> None:
        self._say(DEVICE)

    def do_POST(self) -> None:
        body = xml.fromstring(self.rfile.read(int(self.headers["Content-Length"])))
        action = body[0][0]
        name = action.tag.partition("}")[2]
        values = {one.tag: one.text for one in action}
        told = ""
        if name == "GetExternalIPAddress":
            told = f"<NewExternalIPAddress>{self.outside}</NewExternalIPAddress>"
        elif name == "GetStatusInfo":
            told = (
                "<NewConnectionStatus>Connected</NewConnectionStatus>"
                "<NewLastConnectionError>ERROR_NONE</NewLastConnectionError><NewUptime>1</NewUptime>"
            )
        elif name.endswith("PortMapping"):
            print(json.dumps({"action": name} | values), flush=True)
        self._say(ENVELOPE % (name, SERVICE, told, name))

    def _say(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def main(lan: str, outside: str) -> None:
    Handler.outside = outside
    server = http.server.HTTPServer((lan, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ear.bind(("239.255.255.250", 1900))
    ear.setsockopt(
        socket.IPPROTO_IP,
        socket.IP_ADD_MEMBERSHIP,
        struct.pack("4s4s", socket.inet_aton("239.255.255.250"), socket.inet_aton(lan)),
    )
    print(json.dumps({"up": True}), flush=True)
    while True:
        asked, source = ear.recvfrom(2048)
        wanted = [line.partition(b":")[2].strip() for line in asked.split(b"\r\n") if line.lower().startswith(b"st:")]
        if wanted and (b"InternetGatewayDevice:1" in wanted[0] or b"WANIPConnection:1" in wanted[0]):
            answer = (
                f"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: {wanted[0].decode()}\r\n"
                f"USN: uuid:00000000-0000-0000-0000-000000000001::{wanted[0].decode()}\r\nEXT:\r\n"
                f"LOCATION: http://{lan}:{server.server_port}/device.xml\r\n\r\n"
            )
            ear.sendto(answer.encode(), source)


if __name__ == "__main__":
    main(*sys.argv[1:])
