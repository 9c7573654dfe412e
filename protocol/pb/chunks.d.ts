import type * as $protobuf from "protobufjs/minimal.js";
export namespace fluidcloud {
    namespace chunks {
        namespace v1 {
            interface ILaneFrame extends fluidcloud.chunks.v1.LaneFrame.$Properties {
            }
            class LaneFrame {
                constructor(properties?: fluidcloud.chunks.v1.LaneFrame.$Properties);
                $unknowns?: Uint8Array[];
                have?: (fluidcloud.chunks.v1.Have.$Properties|null);
                want?: (fluidcloud.chunks.v1.Want.$Properties|null);
                data?: (fluidcloud.chunks.v1.Data.$Properties|null);
                error?: (fluidcloud.chunks.v1.LaneError.$Properties|null);
                bye?: (fluidcloud.chunks.v1.Bye.$Properties|null);
                open?: (fluidcloud.chunks.v1.Open.$Properties|null);
                blocks?: (fluidcloud.chunks.v1.Blocks.$Properties|null);
                wantBlocks?: (fluidcloud.chunks.v1.WantBlocks.$Properties|null);
                message?: ("have"|"want"|"data"|"error"|"bye"|"open"|"blocks"|"wantBlocks");
                static encode(message: fluidcloud.chunks.v1.LaneFrame.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.chunks.v1.LaneFrame & fluidcloud.chunks.v1.LaneFrame.$Shape;
            }
            namespace LaneFrame {
                interface $Properties {
                    have?: (fluidcloud.chunks.v1.Have.$Properties|null);
                    want?: (fluidcloud.chunks.v1.Want.$Properties|null);
                    data?: (fluidcloud.chunks.v1.Data.$Properties|null);
                    error?: (fluidcloud.chunks.v1.LaneError.$Properties|null);
                    bye?: (fluidcloud.chunks.v1.Bye.$Properties|null);
                    open?: (fluidcloud.chunks.v1.Open.$Properties|null);
                    blocks?: (fluidcloud.chunks.v1.Blocks.$Properties|null);
                    wantBlocks?: (fluidcloud.chunks.v1.WantBlocks.$Properties|null);
                    message?: ("have"|"want"|"data"|"error"|"bye"|"open"|"blocks"|"wantBlocks");
                    $unknowns?: Uint8Array[];
                }
                type $Shape = {
                  have?: fluidcloud.chunks.v1.Have.$Shape|null;
                  want?: fluidcloud.chunks.v1.Want.$Shape|null;
                  data?: fluidcloud.chunks.v1.Data.$Shape|null;
                  error?: fluidcloud.chunks.v1.LaneError.$Shape|null;
                  bye?: fluidcloud.chunks.v1.Bye.$Shape|null;
                  open?: fluidcloud.chunks.v1.Open.$Shape|null;
                  blocks?: fluidcloud.chunks.v1.Blocks.$Shape|null;
                  wantBlocks?: fluidcloud.chunks.v1.WantBlocks.$Shape|null;
                  $unknowns?: Uint8Array[];
                } & (
                  ({ message?: undefined; have?: null; want?: null; data?: null; error?: null; bye?: null; open?: null; blocks?: null; wantBlocks?: null }|{ message?: "have"; have: fluidcloud.chunks.v1.Have.$Shape; want?: null; data?: null; error?: null; bye?: null; open?: null; blocks?: null; wantBlocks?: null }|{ message?: "want"; have?: null; want: fluidcloud.chunks.v1.Want.$Shape; data?: null; error?: null; bye?: null; open?: null; blocks?: null; wantBlocks?: null }|{ message?: "data"; have?: null; want?: null; data: fluidcloud.chunks.v1.Data.$Shape; error?: null; bye?: null; open?: null; blocks?: null; wantBlocks?: null }|{ message?: "error"; have?: null; want?: null; data?: null; error: fluidcloud.chunks.v1.LaneError.$Shape; bye?: null; open?: null; blocks?: null; wantBlocks?: null }|{ message?: "bye"; have?: null; want?: null; data?: null; error?: null; bye: fluidcloud.chunks.v1.Bye.$Shape; open?: null; blocks?: null; wantBlocks?: null }|{ message?: "open"; have?: null; want?: null; data?: null; error?: null; bye?: null; open: fluidcloud.chunks.v1.Open.$Shape; blocks?: null; wantBlocks?: null }|{ message?: "blocks"; have?: null; want?: null; data?: null; error?: null; bye?: null; open?: null; blocks: fluidcloud.chunks.v1.Blocks.$Shape; wantBlocks?: null }|{ message?: "wantBlocks"; have?: null; want?: null; data?: null; error?: null; bye?: null; open?: null; blocks?: null; wantBlocks: fluidcloud.chunks.v1.WantBlocks.$Shape })
                );
            }
            enum Codec {
                CODEC_UNSPECIFIED = 0,
                CODEC_RAW = 1,
                CODEC_ZSTD = 2
            }
            interface IOpen extends fluidcloud.chunks.v1.Open.$Properties {
            }
            class Open {
                constructor(properties?: fluidcloud.chunks.v1.Open.$Properties);
                $unknowns?: Uint8Array[];
                token: Uint8Array;
                lane: number;
                static encode(message: fluidcloud.chunks.v1.Open.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.chunks.v1.Open & fluidcloud.chunks.v1.Open.$Shape;
            }
            namespace Open {
                interface $Properties {
                    token?: (Uint8Array|null);
                    lane?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.chunks.v1.Open.$Properties;
            }
            interface IHave extends fluidcloud.chunks.v1.Have.$Properties {
            }
            class Have {
                constructor(properties?: fluidcloud.chunks.v1.Have.$Properties);
                $unknowns?: Uint8Array[];
                window: number;
                start: number;
                end: number;
                unasked: number;
                static encode(message: fluidcloud.chunks.v1.Have.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.chunks.v1.Have & fluidcloud.chunks.v1.Have.$Shape;
            }
            namespace Have {
                interface $Properties {
                    window?: (number|null);
                    start?: (number|null);
                    end?: (number|null);
                    unasked?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.chunks.v1.Have.$Properties;
            }
            interface IWant extends fluidcloud.chunks.v1.Want.$Properties {
            }
            class Want {
                constructor(properties?: fluidcloud.chunks.v1.Want.$Properties);
                $unknowns?: Uint8Array[];
                window: number;
                idlePermille: number;
                based: boolean;
                static encode(message: fluidcloud.chunks.v1.Want.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.chunks.v1.Want & fluidcloud.chunks.v1.Want.$Shape;
            }
            namespace Want {
                interface $Properties {
                    window?: (number|null);
                    idlePermille?: (number|null);
                    based?: (boolean|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.chunks.v1.Want.$Properties;
            }
            interface IBlocks extends fluidcloud.chunks.v1.Blocks.$Properties {
            }
            class Blocks {
                constructor(properties?: fluidcloud.chunks.v1.Blocks.$Properties);
                $unknowns?: Uint8Array[];
                window: number;
                static encode(message: fluidcloud.chunks.v1.Blocks.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.chunks.v1.Blocks & fluidcloud.chunks.v1.Blocks.$Shape;
            }
            namespace Blocks {
                interface $Properties {
                    window?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.chunks.v1.Blocks.$Properties;
            }
            interface IWantBlocks extends fluidcloud.chunks.v1.WantBlocks.$Properties {
            }
            class WantBlocks {
                constructor(properties?: fluidcloud.chunks.v1.WantBlocks.$Properties);
                $unknowns?: Uint8Array[];
                window: number;
                static encode(message: fluidcloud.chunks.v1.WantBlocks.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.chunks.v1.WantBlocks & fluidcloud.chunks.v1.WantBlocks.$Shape;
            }
            namespace WantBlocks {
                interface $Properties {
                    window?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.chunks.v1.WantBlocks.$Properties;
            }
            interface IData extends fluidcloud.chunks.v1.Data.$Properties {
            }
            class Data {
                constructor(properties?: fluidcloud.chunks.v1.Data.$Properties);
                $unknowns?: Uint8Array[];
                window: number;
                first: number;
                count: number;
                codec: fluidcloud.chunks.v1.Codec;
                rawBytes: number;
                static encode(message: fluidcloud.chunks.v1.Data.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.chunks.v1.Data & fluidcloud.chunks.v1.Data.$Shape;
            }
            namespace Data {
                interface $Properties {
                    window?: (number|null);
                    first?: (number|null);
                    count?: (number|null);
                    codec?: (fluidcloud.chunks.v1.Codec|null);
                    rawBytes?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.chunks.v1.Data.$Properties;
            }
            interface ILaneError extends fluidcloud.chunks.v1.LaneError.$Properties {
            }
            class LaneError {
                constructor(properties?: fluidcloud.chunks.v1.LaneError.$Properties);
                $unknowns?: Uint8Array[];
                code: number;
                message: string;
                static encode(message: fluidcloud.chunks.v1.LaneError.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.chunks.v1.LaneError & fluidcloud.chunks.v1.LaneError.$Shape;
            }
            namespace LaneError {
                interface $Properties {
                    code?: (number|null);
                    message?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.chunks.v1.LaneError.$Properties;
            }
            interface IBye extends fluidcloud.chunks.v1.Bye.$Properties {
            }
            class Bye {
                constructor(properties?: fluidcloud.chunks.v1.Bye.$Properties);
                $unknowns?: Uint8Array[];
                static encode(message: fluidcloud.chunks.v1.Bye.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.chunks.v1.Bye & fluidcloud.chunks.v1.Bye.$Shape;
            }
            namespace Bye {
                interface $Properties {
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.chunks.v1.Bye.$Properties;
            }
        }
    }
}
