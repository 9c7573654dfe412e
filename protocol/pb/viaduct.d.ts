import type * as $protobuf from "protobufjs/minimal.js";
export namespace fluidcloud {
    namespace viaduct {
        namespace v1 {
            interface IFrame extends fluidcloud.viaduct.v1.Frame.$Properties {
            }
            class Frame {
                constructor(properties?: fluidcloud.viaduct.v1.Frame.$Properties);
                $unknowns?: Uint8Array[];
                hello?: (fluidcloud.viaduct.v1.Hello.$Properties|null);
                offer?: (fluidcloud.viaduct.v1.Offer.$Properties|null);
                pending?: (fluidcloud.viaduct.v1.Pending.$Properties|null);
                agreement?: (fluidcloud.viaduct.v1.SignedAgreement.$Properties|null);
                refusal?: (fluidcloud.viaduct.v1.Refusal.$Properties|null);
                accept?: (fluidcloud.viaduct.v1.Accept.$Properties|null);
                committed?: (fluidcloud.viaduct.v1.Committed.$Properties|null);
                laneReport?: (fluidcloud.viaduct.v1.LaneReport.$Properties|null);
                checkpoint?: (fluidcloud.viaduct.v1.Checkpoint.$Properties|null);
                pause?: (fluidcloud.viaduct.v1.Pause.$Properties|null);
                resume?: (fluidcloud.viaduct.v1.Resume.$Properties|null);
                cancel?: (fluidcloud.viaduct.v1.Cancel.$Properties|null);
                complete?: (fluidcloud.viaduct.v1.Complete.$Properties|null);
                verifying?: (fluidcloud.viaduct.v1.Verifying.$Properties|null);
                receipt?: (fluidcloud.viaduct.v1.SignedReceipt.$Properties|null);
                status?: (fluidcloud.viaduct.v1.Status.$Properties|null);
                heartbeat?: (fluidcloud.viaduct.v1.Heartbeat.$Properties|null);
                verifyRequest?: (fluidcloud.viaduct.v1.VerifyRequest.$Properties|null);
                verifyResult?: (fluidcloud.viaduct.v1.VerifyResult.$Properties|null);
                message?: ("hello"|"offer"|"pending"|"agreement"|"refusal"|"accept"|"committed"|"laneReport"|"checkpoint"|"pause"|"resume"|"cancel"|"complete"|"verifying"|"receipt"|"status"|"heartbeat"|"verifyRequest"|"verifyResult");
                static encode(message: fluidcloud.viaduct.v1.Frame.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Frame & fluidcloud.viaduct.v1.Frame.$Shape;
            }
            namespace Frame {
                interface $Properties {
                    hello?: (fluidcloud.viaduct.v1.Hello.$Properties|null);
                    offer?: (fluidcloud.viaduct.v1.Offer.$Properties|null);
                    pending?: (fluidcloud.viaduct.v1.Pending.$Properties|null);
                    agreement?: (fluidcloud.viaduct.v1.SignedAgreement.$Properties|null);
                    refusal?: (fluidcloud.viaduct.v1.Refusal.$Properties|null);
                    accept?: (fluidcloud.viaduct.v1.Accept.$Properties|null);
                    committed?: (fluidcloud.viaduct.v1.Committed.$Properties|null);
                    laneReport?: (fluidcloud.viaduct.v1.LaneReport.$Properties|null);
                    checkpoint?: (fluidcloud.viaduct.v1.Checkpoint.$Properties|null);
                    pause?: (fluidcloud.viaduct.v1.Pause.$Properties|null);
                    resume?: (fluidcloud.viaduct.v1.Resume.$Properties|null);
                    cancel?: (fluidcloud.viaduct.v1.Cancel.$Properties|null);
                    complete?: (fluidcloud.viaduct.v1.Complete.$Properties|null);
                    verifying?: (fluidcloud.viaduct.v1.Verifying.$Properties|null);
                    receipt?: (fluidcloud.viaduct.v1.SignedReceipt.$Properties|null);
                    status?: (fluidcloud.viaduct.v1.Status.$Properties|null);
                    heartbeat?: (fluidcloud.viaduct.v1.Heartbeat.$Properties|null);
                    verifyRequest?: (fluidcloud.viaduct.v1.VerifyRequest.$Properties|null);
                    verifyResult?: (fluidcloud.viaduct.v1.VerifyResult.$Properties|null);
                    message?: ("hello"|"offer"|"pending"|"agreement"|"refusal"|"accept"|"committed"|"laneReport"|"checkpoint"|"pause"|"resume"|"cancel"|"complete"|"verifying"|"receipt"|"status"|"heartbeat"|"verifyRequest"|"verifyResult");
                    $unknowns?: Uint8Array[];
                }
                type $Shape = {
                  hello?: fluidcloud.viaduct.v1.Hello.$Shape|null;
                  offer?: fluidcloud.viaduct.v1.Offer.$Shape|null;
                  pending?: fluidcloud.viaduct.v1.Pending.$Shape|null;
                  agreement?: fluidcloud.viaduct.v1.SignedAgreement.$Shape|null;
                  refusal?: fluidcloud.viaduct.v1.Refusal.$Shape|null;
                  accept?: fluidcloud.viaduct.v1.Accept.$Shape|null;
                  committed?: fluidcloud.viaduct.v1.Committed.$Shape|null;
                  laneReport?: fluidcloud.viaduct.v1.LaneReport.$Shape|null;
                  checkpoint?: fluidcloud.viaduct.v1.Checkpoint.$Shape|null;
                  pause?: fluidcloud.viaduct.v1.Pause.$Shape|null;
                  resume?: fluidcloud.viaduct.v1.Resume.$Shape|null;
                  cancel?: fluidcloud.viaduct.v1.Cancel.$Shape|null;
                  complete?: fluidcloud.viaduct.v1.Complete.$Shape|null;
                  verifying?: fluidcloud.viaduct.v1.Verifying.$Shape|null;
                  receipt?: fluidcloud.viaduct.v1.SignedReceipt.$Shape|null;
                  status?: fluidcloud.viaduct.v1.Status.$Shape|null;
                  heartbeat?: fluidcloud.viaduct.v1.Heartbeat.$Shape|null;
                  verifyRequest?: fluidcloud.viaduct.v1.VerifyRequest.$Shape|null;
                  verifyResult?: fluidcloud.viaduct.v1.VerifyResult.$Shape|null;
                  $unknowns?: Uint8Array[];
                } & (
                  ({ message?: undefined; hello?: null; offer?: null; pending?: null; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "hello"; hello: fluidcloud.viaduct.v1.Hello.$Shape; offer?: null; pending?: null; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "offer"; hello?: null; offer: fluidcloud.viaduct.v1.Offer.$Shape; pending?: null; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "pending"; hello?: null; offer?: null; pending: fluidcloud.viaduct.v1.Pending.$Shape; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "agreement"; hello?: null; offer?: null; pending?: null; agreement: fluidcloud.viaduct.v1.SignedAgreement.$Shape; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "refusal"; hello?: null; offer?: null; pending?: null; agreement?: null; refusal: fluidcloud.viaduct.v1.Refusal.$Shape; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "accept"; hello?: null; offer?: null; pending?: null; agreement?: null; refusal?: null; accept: fluidcloud.viaduct.v1.Accept.$Shape; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "committed"; hello?: null; offer?: null; pending?: null; agreement?: null; refusal?: null; accept?: null; committed: fluidcloud.viaduct.v1.Committed.$Shape; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "laneReport"; hello?: null; offer?: null; pending?: null; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport: fluidcloud.viaduct.v1.LaneReport.$Shape; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "checkpoint"; hello?: null; offer?: null; pending?: null; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint: fluidcloud.viaduct.v1.Checkpoint.$Shape; pause?: null; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "pause"; hello?: null; offer?: null; pending?: null; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause: fluidcloud.viaduct.v1.Pause.$Shape; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "resume"; hello?: null; offer?: null; pending?: null; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume: fluidcloud.viaduct.v1.Resume.$Shape; cancel?: null; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "cancel"; hello?: null; offer?: null; pending?: null; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel: fluidcloud.viaduct.v1.Cancel.$Shape; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "complete"; hello?: null; offer?: null; pending?: null; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete: fluidcloud.viaduct.v1.Complete.$Shape; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "verifying"; hello?: null; offer?: null; pending?: null; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete?: null; verifying: fluidcloud.viaduct.v1.Verifying.$Shape; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "receipt"; hello?: null; offer?: null; pending?: null; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt: fluidcloud.viaduct.v1.SignedReceipt.$Shape; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "status"; hello?: null; offer?: null; pending?: null; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt?: null; status: fluidcloud.viaduct.v1.Status.$Shape; heartbeat?: null; verifyRequest?: null; verifyResult?: null }|{ message?: "heartbeat"; hello?: null; offer?: null; pending?: null; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat: fluidcloud.viaduct.v1.Heartbeat.$Shape; verifyRequest?: null; verifyResult?: null }|{ message?: "verifyRequest"; hello?: null; offer?: null; pending?: null; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest: fluidcloud.viaduct.v1.VerifyRequest.$Shape; verifyResult?: null }|{ message?: "verifyResult"; hello?: null; offer?: null; pending?: null; agreement?: null; refusal?: null; accept?: null; committed?: null; laneReport?: null; checkpoint?: null; pause?: null; resume?: null; cancel?: null; complete?: null; verifying?: null; receipt?: null; status?: null; heartbeat?: null; verifyRequest?: null; verifyResult: fluidcloud.viaduct.v1.VerifyResult.$Shape })
                );
            }
            interface IHello extends fluidcloud.viaduct.v1.Hello.$Properties {
            }
            class Hello {
                constructor(properties?: fluidcloud.viaduct.v1.Hello.$Properties);
                $unknowns?: Uint8Array[];
                major: number;
                minor: number;
                agent: string;
                capabilities?: (fluidcloud.viaduct.v1.Capabilities.$Properties|null);
                static encode(message: fluidcloud.viaduct.v1.Hello.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Hello & fluidcloud.viaduct.v1.Hello.$Shape;
            }
            namespace Hello {
                interface $Properties {
                    major?: (number|null);
                    minor?: (number|null);
                    agent?: (string|null);
                    capabilities?: (fluidcloud.viaduct.v1.Capabilities.$Properties|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Hello.$Properties;
            }
            interface ICapabilities extends fluidcloud.viaduct.v1.Capabilities.$Properties {
            }
            class Capabilities {
                constructor(properties?: fluidcloud.viaduct.v1.Capabilities.$Properties);
                $unknowns?: Uint8Array[];
                chunkings: string[];
                codecs: string[];
                lanes: string[];
                formats: string[];
                maxLanes: number;
                static encode(message: fluidcloud.viaduct.v1.Capabilities.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Capabilities & fluidcloud.viaduct.v1.Capabilities.$Shape;
            }
            namespace Capabilities {
                interface $Properties {
                    chunkings?: (string[]|null);
                    codecs?: (string[]|null);
                    lanes?: (string[]|null);
                    formats?: (string[]|null);
                    maxLanes?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Capabilities.$Properties;
            }
            interface IOffer extends fluidcloud.viaduct.v1.Offer.$Properties {
            }
            class Offer {
                constructor(properties?: fluidcloud.viaduct.v1.Offer.$Properties);
                $unknowns?: Uint8Array[];
                job: Uint8Array;
                destination: string;
                sizeBytes: number;
                allocatedBytes: number;
                sourceFormat: string;
                snapshot: string;
                targetFormat: string;
                replace: boolean;
                verifyDeep: boolean;
                chunkings: string[];
                codecs: string[];
                lanes: number;
                dryRun: boolean;
                endpoint?: (fluidcloud.viaduct.v1.LaneEndpoint.$Properties|null);
                label: string;
                compression: number;
                bench: boolean;
                mostLanes: number;
                inPlace: boolean;
                static encode(message: fluidcloud.viaduct.v1.Offer.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Offer & fluidcloud.viaduct.v1.Offer.$Shape;
            }
            namespace Offer {
                interface $Properties {
                    job?: (Uint8Array|null);
                    destination?: (string|null);
                    sizeBytes?: (number|null);
                    allocatedBytes?: (number|null);
                    sourceFormat?: (string|null);
                    snapshot?: (string|null);
                    targetFormat?: (string|null);
                    replace?: (boolean|null);
                    verifyDeep?: (boolean|null);
                    chunkings?: (string[]|null);
                    codecs?: (string[]|null);
                    lanes?: (number|null);
                    dryRun?: (boolean|null);
                    endpoint?: (fluidcloud.viaduct.v1.LaneEndpoint.$Properties|null);
                    label?: (string|null);
                    compression?: (number|null);
                    bench?: (boolean|null);
                    mostLanes?: (number|null);
                    inPlace?: (boolean|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Offer.$Properties;
            }
            interface ILaneEndpoint extends fluidcloud.viaduct.v1.LaneEndpoint.$Properties {
            }
            class LaneEndpoint {
                constructor(properties?: fluidcloud.viaduct.v1.LaneEndpoint.$Properties);
                $unknowns?: Uint8Array[];
                addresses: string[];
                token: Uint8Array;
                certificate: Uint8Array;
                static encode(message: fluidcloud.viaduct.v1.LaneEndpoint.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.LaneEndpoint & fluidcloud.viaduct.v1.LaneEndpoint.$Shape;
            }
            namespace LaneEndpoint {
                interface $Properties {
                    addresses?: (string[]|null);
                    token?: (Uint8Array|null);
                    certificate?: (Uint8Array|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.LaneEndpoint.$Properties;
            }
            interface IPending extends fluidcloud.viaduct.v1.Pending.$Properties {
            }
            class Pending {
                constructor(properties?: fluidcloud.viaduct.v1.Pending.$Properties);
                $unknowns?: Uint8Array[];
                reason: string;
                static encode(message: fluidcloud.viaduct.v1.Pending.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Pending & fluidcloud.viaduct.v1.Pending.$Shape;
            }
            namespace Pending {
                interface $Properties {
                    reason?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Pending.$Properties;
            }
            interface ISignedAgreement extends fluidcloud.viaduct.v1.SignedAgreement.$Properties {
            }
            class SignedAgreement {
                constructor(properties?: fluidcloud.viaduct.v1.SignedAgreement.$Properties);
                $unknowns?: Uint8Array[];
                body: Uint8Array;
                signature: Uint8Array;
                endpoint?: (fluidcloud.viaduct.v1.LaneEndpoint.$Properties|null);
                static encode(message: fluidcloud.viaduct.v1.SignedAgreement.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.SignedAgreement & fluidcloud.viaduct.v1.SignedAgreement.$Shape;
            }
            namespace SignedAgreement {
                interface $Properties {
                    body?: (Uint8Array|null);
                    signature?: (Uint8Array|null);
                    endpoint?: (fluidcloud.viaduct.v1.LaneEndpoint.$Properties|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.SignedAgreement.$Properties;
            }
            interface IAgreement extends fluidcloud.viaduct.v1.Agreement.$Properties {
            }
            class Agreement {
                constructor(properties?: fluidcloud.viaduct.v1.Agreement.$Properties);
                $unknowns?: Uint8Array[];
                job: Uint8Array;
                sender: string;
                receiver: string;
                destination: string;
                sizeBytes: number;
                allocatedBytes: number;
                snapshot: string;
                targetFormat: string;
                replace: boolean;
                verifyDeep: boolean;
                chunking: string;
                codecs: string[];
                lanes: number;
                minor: number;
                agreedAtMs: number;
                replacesExisting: boolean;
                freeBytes: number;
                resumes: boolean;
                mostLanes: number;
                inPlace: boolean;
                static encode(message: fluidcloud.viaduct.v1.Agreement.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Agreement & fluidcloud.viaduct.v1.Agreement.$Shape;
            }
            namespace Agreement {
                interface $Properties {
                    job?: (Uint8Array|null);
                    sender?: (string|null);
                    receiver?: (string|null);
                    destination?: (string|null);
                    sizeBytes?: (number|null);
                    allocatedBytes?: (number|null);
                    snapshot?: (string|null);
                    targetFormat?: (string|null);
                    replace?: (boolean|null);
                    verifyDeep?: (boolean|null);
                    chunking?: (string|null);
                    codecs?: (string[]|null);
                    lanes?: (number|null);
                    minor?: (number|null);
                    agreedAtMs?: (number|null);
                    replacesExisting?: (boolean|null);
                    freeBytes?: (number|null);
                    resumes?: (boolean|null);
                    mostLanes?: (number|null);
                    inPlace?: (boolean|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Agreement.$Properties;
            }
            interface IRefusal extends fluidcloud.viaduct.v1.Refusal.$Properties {
            }
            class Refusal {
                constructor(properties?: fluidcloud.viaduct.v1.Refusal.$Properties);
                $unknowns?: Uint8Array[];
                reasons: fluidcloud.viaduct.v1.Reason.$Properties[];
                static encode(message: fluidcloud.viaduct.v1.Refusal.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Refusal & fluidcloud.viaduct.v1.Refusal.$Shape;
            }
            namespace Refusal {
                interface $Properties {
                    reasons?: (fluidcloud.viaduct.v1.Reason.$Properties[]|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Refusal.$Properties;
            }
            interface IReason extends fluidcloud.viaduct.v1.Reason.$Properties {
            }
            class Reason {
                constructor(properties?: fluidcloud.viaduct.v1.Reason.$Properties);
                $unknowns?: Uint8Array[];
                code: number;
                message: string;
                static encode(message: fluidcloud.viaduct.v1.Reason.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Reason & fluidcloud.viaduct.v1.Reason.$Shape;
            }
            namespace Reason {
                interface $Properties {
                    code?: (number|null);
                    message?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Reason.$Properties;
            }
            interface IAccept extends fluidcloud.viaduct.v1.Accept.$Properties {
            }
            class Accept {
                constructor(properties?: fluidcloud.viaduct.v1.Accept.$Properties);
                $unknowns?: Uint8Array[];
                signature: Uint8Array;
                renewed: number[];
                static encode(message: fluidcloud.viaduct.v1.Accept.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Accept & fluidcloud.viaduct.v1.Accept.$Shape;
            }
            namespace Accept {
                interface $Properties {
                    signature?: (Uint8Array|null);
                    renewed?: (number[]|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Accept.$Properties;
            }
            interface ICommitted extends fluidcloud.viaduct.v1.Committed.$Properties {
            }
            class Committed {
                constructor(properties?: fluidcloud.viaduct.v1.Committed.$Properties);
                $unknowns?: Uint8Array[];
                bounds: number[];
                more: boolean;
                unaskedBytes: number;
                static encode(message: fluidcloud.viaduct.v1.Committed.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Committed & fluidcloud.viaduct.v1.Committed.$Shape;
            }
            namespace Committed {
                interface $Properties {
                    bounds?: (number[]|null);
                    more?: (boolean|null);
                    unaskedBytes?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Committed.$Properties;
            }
            interface ILaneReport extends fluidcloud.viaduct.v1.LaneReport.$Properties {
            }
            class LaneReport {
                constructor(properties?: fluidcloud.viaduct.v1.LaneReport.$Properties);
                $unknowns?: Uint8Array[];
                opened: number;
                reason: string;
                static encode(message: fluidcloud.viaduct.v1.LaneReport.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.LaneReport & fluidcloud.viaduct.v1.LaneReport.$Shape;
            }
            namespace LaneReport {
                interface $Properties {
                    opened?: (number|null);
                    reason?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.LaneReport.$Properties;
            }
            interface ICheckpoint extends fluidcloud.viaduct.v1.Checkpoint.$Properties {
            }
            class Checkpoint {
                constructor(properties?: fluidcloud.viaduct.v1.Checkpoint.$Properties);
                $unknowns?: Uint8Array[];
                bounds: number[];
                static encode(message: fluidcloud.viaduct.v1.Checkpoint.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Checkpoint & fluidcloud.viaduct.v1.Checkpoint.$Shape;
            }
            namespace Checkpoint {
                interface $Properties {
                    bounds?: (number[]|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Checkpoint.$Properties;
            }
            interface IPause extends fluidcloud.viaduct.v1.Pause.$Properties {
            }
            class Pause {
                constructor(properties?: fluidcloud.viaduct.v1.Pause.$Properties);
                $unknowns?: Uint8Array[];
                reason: string;
                static encode(message: fluidcloud.viaduct.v1.Pause.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Pause & fluidcloud.viaduct.v1.Pause.$Shape;
            }
            namespace Pause {
                interface $Properties {
                    reason?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Pause.$Properties;
            }
            interface IResume extends fluidcloud.viaduct.v1.Resume.$Properties {
            }
            class Resume {
                constructor(properties?: fluidcloud.viaduct.v1.Resume.$Properties);
                $unknowns?: Uint8Array[];
                static encode(message: fluidcloud.viaduct.v1.Resume.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Resume & fluidcloud.viaduct.v1.Resume.$Shape;
            }
            namespace Resume {
                interface $Properties {
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Resume.$Properties;
            }
            interface ICancel extends fluidcloud.viaduct.v1.Cancel.$Properties {
            }
            class Cancel {
                constructor(properties?: fluidcloud.viaduct.v1.Cancel.$Properties);
                $unknowns?: Uint8Array[];
                reason: string;
                static encode(message: fluidcloud.viaduct.v1.Cancel.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Cancel & fluidcloud.viaduct.v1.Cancel.$Shape;
            }
            namespace Cancel {
                interface $Properties {
                    reason?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Cancel.$Properties;
            }
            interface IComplete extends fluidcloud.viaduct.v1.Complete.$Properties {
            }
            class Complete {
                constructor(properties?: fluidcloud.viaduct.v1.Complete.$Properties);
                $unknowns?: Uint8Array[];
                root: Uint8Array;
                totals?: (fluidcloud.viaduct.v1.SenderTotals.$Properties|null);
                static encode(message: fluidcloud.viaduct.v1.Complete.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Complete & fluidcloud.viaduct.v1.Complete.$Shape;
            }
            namespace Complete {
                interface $Properties {
                    root?: (Uint8Array|null);
                    totals?: (fluidcloud.viaduct.v1.SenderTotals.$Properties|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Complete.$Properties;
            }
            interface ISenderTotals extends fluidcloud.viaduct.v1.SenderTotals.$Properties {
            }
            class SenderTotals {
                constructor(properties?: fluidcloud.viaduct.v1.SenderTotals.$Properties);
                $unknowns?: Uint8Array[];
                sentBytes: number;
                wireBytes: number;
                resumedBytes: number;
                startedAtMs: number;
                path: string;
                static encode(message: fluidcloud.viaduct.v1.SenderTotals.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.SenderTotals & fluidcloud.viaduct.v1.SenderTotals.$Shape;
            }
            namespace SenderTotals {
                interface $Properties {
                    sentBytes?: (number|null);
                    wireBytes?: (number|null);
                    resumedBytes?: (number|null);
                    startedAtMs?: (number|null);
                    path?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.SenderTotals.$Properties;
            }
            interface IVerifying extends fluidcloud.viaduct.v1.Verifying.$Properties {
            }
            class Verifying {
                constructor(properties?: fluidcloud.viaduct.v1.Verifying.$Properties);
                $unknowns?: Uint8Array[];
                doneBytes: number;
                totalBytes: number;
                static encode(message: fluidcloud.viaduct.v1.Verifying.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Verifying & fluidcloud.viaduct.v1.Verifying.$Shape;
            }
            namespace Verifying {
                interface $Properties {
                    doneBytes?: (number|null);
                    totalBytes?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Verifying.$Properties;
            }
            interface ISignedReceipt extends fluidcloud.viaduct.v1.SignedReceipt.$Properties {
            }
            class SignedReceipt {
                constructor(properties?: fluidcloud.viaduct.v1.SignedReceipt.$Properties);
                $unknowns?: Uint8Array[];
                body: Uint8Array;
                receiverSignature: Uint8Array;
                senderSignature: Uint8Array;
                cpuMs: number;
                static encode(message: fluidcloud.viaduct.v1.SignedReceipt.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.SignedReceipt & fluidcloud.viaduct.v1.SignedReceipt.$Shape;
            }
            namespace SignedReceipt {
                interface $Properties {
                    body?: (Uint8Array|null);
                    receiverSignature?: (Uint8Array|null);
                    senderSignature?: (Uint8Array|null);
                    cpuMs?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.SignedReceipt.$Properties;
            }
            interface IReceipt extends fluidcloud.viaduct.v1.Receipt.$Properties {
            }
            class Receipt {
                constructor(properties?: fluidcloud.viaduct.v1.Receipt.$Properties);
                $unknowns?: Uint8Array[];
                job: Uint8Array;
                sender: string;
                receiver: string;
                destination: string;
                snapshot: string;
                sizeBytes: number;
                root: Uint8Array;
                chunking: string;
                chunks: number;
                dataBytes: number;
                zeroBytes: number;
                sentBytes: number;
                dedupedBytes: number;
                resumedBytes: number;
                wireBytes: number;
                path: string;
                verifiedDeep: boolean;
                startedAtMs: number;
                finishedAtMs: number;
                agreementDigest: Uint8Array;
                static encode(message: fluidcloud.viaduct.v1.Receipt.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Receipt & fluidcloud.viaduct.v1.Receipt.$Shape;
            }
            namespace Receipt {
                interface $Properties {
                    job?: (Uint8Array|null);
                    sender?: (string|null);
                    receiver?: (string|null);
                    destination?: (string|null);
                    snapshot?: (string|null);
                    sizeBytes?: (number|null);
                    root?: (Uint8Array|null);
                    chunking?: (string|null);
                    chunks?: (number|null);
                    dataBytes?: (number|null);
                    zeroBytes?: (number|null);
                    sentBytes?: (number|null);
                    dedupedBytes?: (number|null);
                    resumedBytes?: (number|null);
                    wireBytes?: (number|null);
                    path?: (string|null);
                    verifiedDeep?: (boolean|null);
                    startedAtMs?: (number|null);
                    finishedAtMs?: (number|null);
                    agreementDigest?: (Uint8Array|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Receipt.$Properties;
            }
            interface IStatus extends fluidcloud.viaduct.v1.Status.$Properties {
            }
            class Status {
                constructor(properties?: fluidcloud.viaduct.v1.Status.$Properties);
                $unknowns?: Uint8Array[];
                code: number;
                message: string;
                fatal: boolean;
                offset: number;
                static encode(message: fluidcloud.viaduct.v1.Status.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Status & fluidcloud.viaduct.v1.Status.$Shape;
            }
            namespace Status {
                interface $Properties {
                    code?: (number|null);
                    message?: (string|null);
                    fatal?: (boolean|null);
                    offset?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Status.$Properties;
            }
            interface IHeartbeat extends fluidcloud.viaduct.v1.Heartbeat.$Properties {
            }
            class Heartbeat {
                constructor(properties?: fluidcloud.viaduct.v1.Heartbeat.$Properties);
                $unknowns?: Uint8Array[];
                doneBytes: number;
                static encode(message: fluidcloud.viaduct.v1.Heartbeat.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.Heartbeat & fluidcloud.viaduct.v1.Heartbeat.$Shape;
            }
            namespace Heartbeat {
                interface $Properties {
                    doneBytes?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.Heartbeat.$Properties;
            }
            interface IVerifyRequest extends fluidcloud.viaduct.v1.VerifyRequest.$Properties {
            }
            class VerifyRequest {
                constructor(properties?: fluidcloud.viaduct.v1.VerifyRequest.$Properties);
                $unknowns?: Uint8Array[];
                job: Uint8Array;
                deep: boolean;
                static encode(message: fluidcloud.viaduct.v1.VerifyRequest.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.VerifyRequest & fluidcloud.viaduct.v1.VerifyRequest.$Shape;
            }
            namespace VerifyRequest {
                interface $Properties {
                    job?: (Uint8Array|null);
                    deep?: (boolean|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.VerifyRequest.$Properties;
            }
            interface IVerifyResult extends fluidcloud.viaduct.v1.VerifyResult.$Properties {
            }
            class VerifyResult {
                constructor(properties?: fluidcloud.viaduct.v1.VerifyResult.$Properties);
                $unknowns?: Uint8Array[];
                root: Uint8Array;
                checkedBytes: number;
                error?: (fluidcloud.viaduct.v1.Reason.$Properties|null);
                static encode(message: fluidcloud.viaduct.v1.VerifyResult.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.viaduct.v1.VerifyResult & fluidcloud.viaduct.v1.VerifyResult.$Shape;
            }
            namespace VerifyResult {
                interface $Properties {
                    root?: (Uint8Array|null);
                    checkedBytes?: (number|null);
                    error?: (fluidcloud.viaduct.v1.Reason.$Properties|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.viaduct.v1.VerifyResult.$Properties;
            }
        }
    }
}
