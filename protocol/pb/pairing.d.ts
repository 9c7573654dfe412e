import type * as $protobuf from "protobufjs/minimal.js";
export namespace fluidcloud {
    namespace pairing {
        namespace v1 {
            interface IFrame extends fluidcloud.pairing.v1.Frame.$Properties {
            }
            class Frame {
                constructor(properties?: fluidcloud.pairing.v1.Frame.$Properties);
                $unknowns?: Uint8Array[];
                redeem?: (fluidcloud.pairing.v1.Redeem.$Properties|null);
                request?: (fluidcloud.pairing.v1.Request.$Properties|null);
                paired?: (fluidcloud.pairing.v1.Paired.$Properties|null);
                refused?: (fluidcloud.pairing.v1.Refused.$Properties|null);
                waiting?: (fluidcloud.pairing.v1.Waiting.$Properties|null);
                message?: ("redeem"|"request"|"paired"|"refused"|"waiting");
                static encode(message: fluidcloud.pairing.v1.Frame.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.pairing.v1.Frame & fluidcloud.pairing.v1.Frame.$Shape;
            }
            namespace Frame {
                interface $Properties {
                    redeem?: (fluidcloud.pairing.v1.Redeem.$Properties|null);
                    request?: (fluidcloud.pairing.v1.Request.$Properties|null);
                    paired?: (fluidcloud.pairing.v1.Paired.$Properties|null);
                    refused?: (fluidcloud.pairing.v1.Refused.$Properties|null);
                    waiting?: (fluidcloud.pairing.v1.Waiting.$Properties|null);
                    message?: ("redeem"|"request"|"paired"|"refused"|"waiting");
                    $unknowns?: Uint8Array[];
                }
                type $Shape = {
                  redeem?: fluidcloud.pairing.v1.Redeem.$Shape|null;
                  request?: fluidcloud.pairing.v1.Request.$Shape|null;
                  paired?: fluidcloud.pairing.v1.Paired.$Shape|null;
                  refused?: fluidcloud.pairing.v1.Refused.$Shape|null;
                  waiting?: fluidcloud.pairing.v1.Waiting.$Shape|null;
                  $unknowns?: Uint8Array[];
                } & (
                  ({ message?: undefined; redeem?: null; request?: null; paired?: null; refused?: null; waiting?: null }|{ message?: "redeem"; redeem: fluidcloud.pairing.v1.Redeem.$Shape; request?: null; paired?: null; refused?: null; waiting?: null }|{ message?: "request"; redeem?: null; request: fluidcloud.pairing.v1.Request.$Shape; paired?: null; refused?: null; waiting?: null }|{ message?: "paired"; redeem?: null; request?: null; paired: fluidcloud.pairing.v1.Paired.$Shape; refused?: null; waiting?: null }|{ message?: "refused"; redeem?: null; request?: null; paired?: null; refused: fluidcloud.pairing.v1.Refused.$Shape; waiting?: null }|{ message?: "waiting"; redeem?: null; request?: null; paired?: null; refused?: null; waiting: fluidcloud.pairing.v1.Waiting.$Shape })
                );
            }
            interface IRedeem extends fluidcloud.pairing.v1.Redeem.$Properties {
            }
            class Redeem {
                constructor(properties?: fluidcloud.pairing.v1.Redeem.$Properties);
                $unknowns?: Uint8Array[];
                ticketId: Uint8Array;
                secret: Uint8Array;
                name: string;
                static encode(message: fluidcloud.pairing.v1.Redeem.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.pairing.v1.Redeem & fluidcloud.pairing.v1.Redeem.$Shape;
            }
            namespace Redeem {
                interface $Properties {
                    ticketId?: (Uint8Array|null);
                    secret?: (Uint8Array|null);
                    name?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.pairing.v1.Redeem.$Properties;
            }
            interface IRequest extends fluidcloud.pairing.v1.Request.$Properties {
            }
            class Request {
                constructor(properties?: fluidcloud.pairing.v1.Request.$Properties);
                $unknowns?: Uint8Array[];
                name: string;
                static encode(message: fluidcloud.pairing.v1.Request.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.pairing.v1.Request & fluidcloud.pairing.v1.Request.$Shape;
            }
            namespace Request {
                interface $Properties {
                    name?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.pairing.v1.Request.$Properties;
            }
            interface IPaired extends fluidcloud.pairing.v1.Paired.$Properties {
            }
            class Paired {
                constructor(properties?: fluidcloud.pairing.v1.Paired.$Properties);
                $unknowns?: Uint8Array[];
                name: string;
                grant?: (fluidcloud.pairing.v1.Grant.$Properties|null);
                static encode(message: fluidcloud.pairing.v1.Paired.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.pairing.v1.Paired & fluidcloud.pairing.v1.Paired.$Shape;
            }
            namespace Paired {
                interface $Properties {
                    name?: (string|null);
                    grant?: (fluidcloud.pairing.v1.Grant.$Properties|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.pairing.v1.Paired.$Properties;
            }
            interface IGrant extends fluidcloud.pairing.v1.Grant.$Properties {
            }
            class Grant {
                constructor(properties?: fluidcloud.pairing.v1.Grant.$Properties);
                $unknowns?: Uint8Array[];
                write: boolean;
                maxBytes: number;
                ask: boolean;
                static encode(message: fluidcloud.pairing.v1.Grant.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.pairing.v1.Grant & fluidcloud.pairing.v1.Grant.$Shape;
            }
            namespace Grant {
                interface $Properties {
                    write?: (boolean|null);
                    maxBytes?: (number|null);
                    ask?: (boolean|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.pairing.v1.Grant.$Properties;
            }
            interface IRefused extends fluidcloud.pairing.v1.Refused.$Properties {
            }
            class Refused {
                constructor(properties?: fluidcloud.pairing.v1.Refused.$Properties);
                $unknowns?: Uint8Array[];
                code: number;
                message: string;
                static encode(message: fluidcloud.pairing.v1.Refused.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.pairing.v1.Refused & fluidcloud.pairing.v1.Refused.$Shape;
            }
            namespace Refused {
                interface $Properties {
                    code?: (number|null);
                    message?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.pairing.v1.Refused.$Properties;
            }
            interface IWaiting extends fluidcloud.pairing.v1.Waiting.$Properties {
            }
            class Waiting {
                constructor(properties?: fluidcloud.pairing.v1.Waiting.$Properties);
                $unknowns?: Uint8Array[];
                static encode(message: fluidcloud.pairing.v1.Waiting.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.pairing.v1.Waiting & fluidcloud.pairing.v1.Waiting.$Shape;
            }
            namespace Waiting {
                interface $Properties {
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.pairing.v1.Waiting.$Properties;
            }
        }
    }
}
