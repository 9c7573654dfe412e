/**
 * The protobuf runtime of everything under pb/, with 64-bit integers as plain numbers.
 *
 * Without Long the runtime reads a 64-bit value as the nearest number; the codecs refuse what is not a safe
 * integer, so nothing is rounded in silence. Generated code imports this module, so the order cannot go wrong.
 */
import protobuf from 'protobufjs/minimal.js'

Reflect.set(protobuf.util, 'Long', undefined)
protobuf.configure()

export default protobuf
