# The `bluetooth` module of a virtual ESP32: BLE, UUID and the flags, with the errors and limits of MicroPython's NimBLE
# build.
#
# Values of characteristics live here, in the board's heap, as on a board. Data calls (notify, write without response)
# cost no round trip: NimBLE's buffers are counted here and come back as credit. Not offered: pairing, L2CAP channels,
# hci_cmd.
import struct
import sys

import waiting
from bluetooth_uuid import UUID
from micropython import const
from radio_socket import RadioSocket

_ACK = const(0)
_NOTIFY = const(1)
_WRITE_COMMAND = const(2)
_UPDATED = const(3)
_ACTIVE = const(16)
_SET_MTU = const(17)
_SET_NAME = const(18)
_SET_ADDRESS_MODE = const(19)
_GET_ADDRESS = const(20)
_REGISTER = const(21)
_ADVERTISE = const(22)
_ADVERTISE_STOP = const(23)
_SCAN = const(24)
_SCAN_STOP = const(25)
_CONNECT = const(26)
_CONNECT_CANCEL = const(27)
_DISCONNECT = const(28)
_DISCOVER_SERVICES = const(29)
_DISCOVER_CHARACTERISTICS = const(30)
_DISCOVER_DESCRIPTORS = const(31)
_READ = const(32)
_WRITE = const(33)
_EXCHANGE_MTU = const(34)
_INDICATE = const(35)

_IRQ_CENTRAL_CONNECT = const(1)
_IRQ_CENTRAL_DISCONNECT = const(2)
_IRQ_GATTS_WRITE = const(3)
_IRQ_GATTS_READ_REQUEST = const(4)
_IRQ_SCAN_RESULT = const(5)
_IRQ_SCAN_DONE = const(6)
_IRQ_PERIPHERAL_CONNECT = const(7)
_IRQ_PERIPHERAL_DISCONNECT = const(8)
_IRQ_GATTC_SERVICE_RESULT = const(9)
_IRQ_GATTC_CHARACTERISTIC_RESULT = const(11)
_IRQ_GATTC_DESCRIPTOR_RESULT = const(13)
_IRQ_GATTC_READ_RESULT = const(15)
_IRQ_GATTC_READ_DONE = const(16)
_IRQ_GATTC_WRITE_DONE = const(17)
_IRQ_GATTC_NOTIFY = const(18)
_IRQ_GATTC_INDICATE = const(19)
_IRQ_GATTS_INDICATE_DONE = const(20)
_IRQ_CONNECTION_UPDATE = const(27)

_ENOMEM = const(12)
_ENODEV = const(19)
_EINVAL = const(22)
_ENOTCONN = const(128)

_HEADER = const(3)
_BLOCKS = const(12)
_BLOCK = const(240)
_ATTRIBUTE_LENGTH = const(20)
_DEFAULT_MTU = const(256)
_LONGEST_VALUE = const(590)

_ble = None


def _buffer(value):
    return value.encode() if isinstance(value, str) else value


# One value: as long as its buffer at most; with append, writes of peers add to what was not read yet.
class _Value:
    def __init__(self):
        self.resize(_ATTRIBUTE_LENGTH, False)

    def resize(self, length, append):
        self.data = bytearray(length)
        self.length = 0
        self.append = append

    def take_from_peer(self, event, length):
        at = self.length if self.append else 0
        room = len(self.data) - at
        if length > room:
            length = room
        self.data[at : at + length] = memoryview(event)[4 : 4 + length]
        self.length = at + length

    def set(self, value):
        length = len(value)
        if length > len(self.data):
            self.data = bytearray(length)
        self.data[:length] = value
        self.length = length


class BLE:
    def __new__(cls):
        return _ble

    def _setup(self, radio):
        self._radio = radio
        self._event = memoryview(radio.event)
        # Addresses are always in the same places.
        self._peer = self._event[3:9]
        self._advertiser = self._event[1:7]
        self._handler = None
        self._scan_done = False
        radio.on_event = self._on_event
        self._forget()
        self._is_active = False

    def _forget(self):
        self._mtu = _DEFAULT_MTU
        self._name = b"MPY ESP32"
        self._values = {}
        self._links = 0
        self._blocks = _BLOCKS
        self._radio.credit = 0

    # Events

    def _on_event(self, irq):
        event = self._radio.event
        length = self._radio.event_length
        if irq == _IRQ_GATTS_WRITE:
            data = struct.unpack_from("<HH", event)
            value = self._values.get(data[1])
            if value:
                value.take_from_peer(event, length - 4)
        elif irq == _IRQ_GATTS_READ_REQUEST:
            return self._on_read_request(struct.unpack_from("<HH", event))
        elif irq == _IRQ_GATTC_NOTIFY or irq == _IRQ_GATTC_INDICATE or irq == _IRQ_GATTC_READ_RESULT:
            conn, handle = struct.unpack_from("<HH", event)
            data = (conn, handle, self._event[4:length])
        elif irq == _IRQ_SCAN_RESULT:
            kind, rssi = struct.unpack_from("Bb", event, 7)
            data = (event[0], self._advertiser, kind, rssi, self._event[9:length])
        elif irq == _IRQ_CENTRAL_CONNECT or irq == _IRQ_PERIPHERAL_CONNECT:
            conn = event[0] | event[1] << 8
            self._links |= 1 << conn
            data = (conn, event[2], self._peer)
        elif irq == _IRQ_CENTRAL_DISCONNECT or irq == _IRQ_PERIPHERAL_DISCONNECT:
            conn = event[0] | event[1] << 8
            if conn < 64:
                self._links &= ~(1 << conn)
            data = (conn, event[2], self._peer)
        elif irq == _IRQ_GATTC_SERVICE_RESULT:
            data = struct.unpack_from("<HHH", event) + (UUID(bytes(self._event[6:length])),)
        elif irq == _IRQ_GATTC_CHARACTERISTIC_RESULT:
            conn, end, handle, properties = struct.unpack_from("<HHHB", event)
            data = (conn, end, handle, properties, UUID(bytes(self._event[7:length])))
        elif irq == _IRQ_GATTC_DESCRIPTOR_RESULT:
            data = struct.unpack_from("<HH", event) + (UUID(bytes(self._event[4:length])),)
        elif irq == _IRQ_SCAN_DONE:
            data = ()
        elif irq == _IRQ_CONNECTION_UPDATE:
            data = struct.unpack_from("<HHHHH", event)
        elif irq == _IRQ_GATTC_READ_DONE or irq == _IRQ_GATTC_WRITE_DONE:
            data = struct.unpack_from("<HHH", event)
        elif irq == _IRQ_GATTS_INDICATE_DONE:
            data = struct.unpack_from("<HHB", event)
        else:
            data = struct.unpack_from("<HH", event)
        self._run_handler(irq, data)
        if self._scan_done:
            self._scan_done = False
            self._run_handler(_IRQ_SCAN_DONE, ())
        return 0

    # What a handler raises is printed, and that handler is not called again.
    def _run_handler(self, irq, data):
        if self._handler is None:
            return None
        try:
            return self._handler(irq, data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            print("Unhandled exception in IRQ callback handler")
            sys.print_exception(error)
            self._handler = None
            return None

    # Leaves the answer in the buffer of the socket and returns its length.
    def _on_read_request(self, data):
        error = self._run_handler(_IRQ_GATTS_READ_REQUEST, data)
        out = self._radio.out
        value = self._values.get(data[1])
        length = value.length if value else 0
        struct.pack_into("<h", out, _HEADER, int(error) if isinstance(error, (int, bool)) else 0)
        if length:
            out[_HEADER + 2 : _HEADER + 2 + length] = memoryview(value.data)[:length]
        return 2 + length

    # Calls

    def _check_active(self):
        if not self._is_active:
            raise OSError(_ENODEV)

    # Pack a call's arguments, add data, send it and wait. Events that came meanwhile are handled before the call
    # returns.
    def _call(self, kind, form="", *values, data=None):
        self._check_active()
        radio = self._radio
        length = struct.calcsize(form)
        struct.pack_into(form, radio.out, _HEADER, *values)
        if data is not None:
            data = _buffer(data)
            if len(data) > _LONGEST_VALUE - length:
                data = memoryview(data)[: _LONGEST_VALUE - length]
            radio.out[_HEADER + length : _HEADER + length + len(data)] = data
            length += len(data)
        return radio.call(kind, length)

    def _call_and_dispatch(self, kind, form="", *values, data=None):
        self._call(kind, form, *values, data=data)
        self._radio.dispatch()

    # The bindings report the end of a scan that is stopped from within the call that stops it.
    def _report_scan_done(self):
        self._radio.dispatch()
        if self._radio.in_handler:
            self._scan_done = True
        else:
            self._run_handler(_IRQ_SCAN_DONE, ())

    def active(self, *args):
        if args:
            radio = self._radio
            wanted = bool(args[0])
            self._is_active = wanted
            radio.out[_HEADER] = wanted
            radio.call(_ACTIVE, 1)
            self._forget()
        return self._is_active

    def config(self, *args, **kwargs):
        if not kwargs:
            if len(args) != 1:
                raise TypeError("must query one param")
            return self._get_config(args[0])
        if args:
            raise TypeError("can't specify pos and kw args")
        for name, value in kwargs.items():
            self._set_config(name, value)
        return None

    def _get_config(self, name):
        if name == "mac":
            self._call(_GET_ADDRESS)
            return self._radio.reply[2], bytes(memoryview(self._radio.reply)[3:9])
        if name == "mtu":
            self._check_active()
            return self._mtu
        if name == "gap_name":
            return self._name
        raise ValueError("unknown config param")

    def _set_config(self, name, value):
        if name == "mtu":
            self._call(_SET_MTU, "<H", value)
            self._mtu = value
        elif name == "gap_name":
            self._call(_SET_NAME, data=value)
            self._name = bytes(_buffer(value))
        elif name == "addr_mode":
            self._call(_SET_ADDRESS_MODE, "B", value)
        elif name not in ("bond", "mitm", "io", "le_secure"):
            raise ValueError("unknown config param")

    def irq(self, handler):
        if handler is not None and not callable(handler):
            raise ValueError("invalid handler")
        self._handler = handler

    def gap_advertise(self, interval_us=500000, adv_data=None, *, resp_data=None, connectable=True):
        if interval_us is None:
            if self._is_active:
                self._call_and_dispatch(_ADVERTISE_STOP)
            return
        body = b""
        for part in (adv_data, resp_data):
            part = None if part is None else bytes(_buffer(part))
            body += bytes((part is not None, min(len(part or b""), 255))) + (part or b"")[:255]
        self._call_and_dispatch(_ADVERTISE, "<IB", interval_us, bool(connectable), data=body)

    def gap_scan(self, duration_ms=0, interval_us=1280000, window_us=11250, active=False):
        if duration_ms is None:
            self._call(_SCAN_STOP)
            if self._radio.reply[2]:
                self._report_scan_done()
            return
        self._call_and_dispatch(_SCAN, "<IIIB", duration_ms, interval_us, window_us, bool(active))

    def gap_connect(self, addr_type, addr=None, scan_duration_ms=2000, min_conn_interval_us=0, max_conn_interval_us=0):
        if addr is None:
            if addr_type is not None:
                raise TypeError("invalid addr")
            self._call_and_dispatch(_CONNECT_CANCEL)
            return
        if len(addr) != 6:
            raise ValueError("invalid addr")
        duration = 2000 if scan_duration_ms is None else scan_duration_ms
        intervals = min_conn_interval_us or 0, max_conn_interval_us or 0
        self._call(_CONNECT, "<B6sIII", addr_type, bytes(addr), duration, intervals[0], intervals[1])
        if self._radio.reply[2]:
            self._report_scan_done()
        self._radio.dispatch()

    def gap_disconnect(self, conn_handle):
        try:
            self._call(_DISCONNECT, "<H", conn_handle)
        except OSError as error:
            if error.errno == _ENOTCONN:
                return False
            raise
        self._radio.dispatch()
        return True

    def gatts_register_services(self, services):
        body = bytearray((len(services),))
        sizes = []
        for uuid, characteristics in services:
            _pack_uuid(body, uuid, "service")
            size = 0
            body.append(len(characteristics))
            for characteristic in characteristics:
                if not 2 <= len(characteristic) <= 3:
                    raise ValueError("invalid characteristic tuple")
                descriptors = characteristic[2] if len(characteristic) == 3 else ()
                _pack_uuid(body, characteristic[0], "characteristic")
                body.extend(struct.pack("<HB", characteristic[1], len(descriptors)))
                for descriptor_uuid, flags in descriptors:
                    _pack_uuid(body, descriptor_uuid, "descriptor")
                    body.extend(struct.pack("<H", flags))
                size += 1 + len(descriptors)
            sizes.append(size)
        self._check_active()
        count = self._radio.call_long(_REGISTER, body) // 2
        handles = struct.unpack_from("<%dH" % count, self._radio.reply, 2)
        self._values = {handle: _Value() for handle in handles}
        result = []
        for size in sizes:
            result.append(handles[:size])
            handles = handles[size:]
        self._radio.dispatch()
        return tuple(result)

    # GATT server

    def _value(self, handle):
        self._check_active()
        value = self._values.get(handle)
        if value is None:
            raise OSError(_EINVAL)
        return value

    def gatts_read(self, value_handle):
        value = self._values.get(value_handle)
        if value is None:
            return b""
        result = bytes(memoryview(value.data)[: value.length])
        if value.append:
            value.length = 0
        return result

    def gatts_write(self, value_handle, data, send_update=False):
        data = _buffer(data)
        self._value(value_handle).set(data)
        if send_update:
            out = self._radio.out
            length = min(len(data), _LONGEST_VALUE)
            struct.pack_into("<H", out, _HEADER, value_handle)
            out[_HEADER + 2 : _HEADER + 2 + length] = memoryview(data)[:length]
            self._radio.send(_UPDATED, 2 + length)
        return len(data)

    def gatts_set_buffer(self, value_handle, length, append=False):
        self._value(value_handle).resize(length, bool(append))

    def gatts_notify(self, conn_handle, value_handle, data=None):
        self._send_data(_NOTIFY, conn_handle, value_handle, data)

    def gatts_indicate(self, conn_handle, value_handle, data=None):
        if data is None:
            value = self._value(value_handle)
            data = memoryview(value.data)[: value.length]
        self._call_and_dispatch(_INDICATE, "<HH", conn_handle, value_handle, data=data)

    # Copies the value out at once or raises OSError(12): the blocks it takes come back when it left for the air.
    def _send_data(self, kind, conn_handle, value_handle, data):
        self._check_active()
        if data is None:
            value = self._value(value_handle)
            data = memoryview(value.data)[: value.length]
        elif isinstance(data, str):
            data = data.encode()
        length = len(data)
        if length > _LONGEST_VALUE - 5:
            raise OSError(_ENOMEM)
        blocks = 1 + (length + _BLOCK - 1) // _BLOCK
        radio = self._radio
        # A handler runs on NimBLE's own task: no buffer comes back before it returns.
        if self._blocks + radio.credit < blocks and not radio.in_handler:
            while radio.receive() >= 0:
                pass
        self._blocks += radio.credit
        radio.credit = 0
        if self._blocks < blocks:
            raise OSError(_ENOMEM)
        if not 0 <= conn_handle < 64 or not self._links >> conn_handle & 1:
            raise OSError(_ENOTCONN)
        self._blocks -= blocks
        struct.pack_into("<HHB", radio.out, _HEADER, conn_handle, value_handle, blocks)
        radio.out[_HEADER + 5 : _HEADER + 5 + length] = data
        radio.send(kind, 5 + length)

    # GATT client

    def gattc_discover_services(self, conn_handle, uuid=None):
        self._call_and_dispatch(_DISCOVER_SERVICES, "<H", conn_handle, data=_filter(uuid))

    def gattc_discover_characteristics(self, conn_handle, start_handle, end_handle, uuid=None):
        self._call_and_dispatch(
            _DISCOVER_CHARACTERISTICS, "<HHH", conn_handle, start_handle, end_handle, data=_filter(uuid)
        )

    def gattc_discover_descriptors(self, conn_handle, start_handle, end_handle):
        self._call_and_dispatch(_DISCOVER_DESCRIPTORS, "<HHH", conn_handle, start_handle, end_handle)

    def gattc_read(self, conn_handle, value_handle):
        self._call_and_dispatch(_READ, "<HH", conn_handle, value_handle)

    def gattc_write(self, conn_handle, value_handle, data, mode=0):
        if mode == 0:
            self._send_data(_WRITE_COMMAND, conn_handle, value_handle, data)
        elif mode == 1:
            self._call_and_dispatch(_WRITE, "<HH", conn_handle, value_handle, data=data)
        else:
            raise OSError(_EINVAL)

    def gattc_exchange_mtu(self, conn_handle):
        self._call_and_dispatch(_EXCHANGE_MTU, "<H", conn_handle)


def _pack_uuid(body, uuid, what):
    if not isinstance(uuid, UUID):
        raise ValueError("invalid %s UUID" % what)
    uuid = bytes(uuid)
    body.append(len(uuid))
    body.extend(uuid)


def _filter(uuid):
    if uuid is None:
        return None
    if not isinstance(uuid, UUID):
        raise TypeError("UUID")
    return bytes(uuid)


class _Bluetooth:
    def __init__(self):
        self.__name__ = "bluetooth"
        self.BLE = BLE
        self.UUID = UUID
        self.FLAG_READ = 0x02
        self.FLAG_WRITE_NO_RESPONSE = 0x04
        self.FLAG_WRITE = 0x08
        self.FLAG_NOTIFY = 0x10
        self.FLAG_INDICATE = 0x20


# Connect to the NimBLE host at socket_path and put `bluetooth`, `time`, `select` and machine.idle in place. To be
# called before asyncio is first imported, since it keeps what it finds then.
def install(socket_path):
    global _ble
    _ble = object.__new__(BLE)
    radio = RadioSocket(socket_path)
    _ble._setup(radio)
    waiting.install(radio)
    sys.modules["bluetooth"] = _Bluetooth()
    # No program shall find a module that no board has.
    for name in ("bluetooth_shim", "bluetooth_uuid", "radio_socket", "waiting"):
        sys.modules.pop(name, None)
