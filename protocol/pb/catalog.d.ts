import type * as $protobuf from "protobufjs/minimal.js";
export namespace fluidcloud {
    namespace catalog {
        namespace v1 {
            interface IFrame extends fluidcloud.catalog.v1.Frame.$Properties {
            }
            class Frame {
                constructor(properties?: fluidcloud.catalog.v1.Frame.$Properties);
                $unknowns?: Uint8Array[];
                publish?: (fluidcloud.catalog.v1.Publish.$Properties|null);
                published?: (fluidcloud.catalog.v1.Published.$Properties|null);
                query?: (fluidcloud.catalog.v1.Query.$Properties|null);
                watch?: (fluidcloud.catalog.v1.Watch.$Properties|null);
                list?: (fluidcloud.catalog.v1.List.$Properties|null);
                offers?: (fluidcloud.catalog.v1.Offers.$Properties|null);
                summarise?: (fluidcloud.catalog.v1.Summarise.$Properties|null);
                summary?: (fluidcloud.catalog.v1.Summary.$Properties|null);
                enumerate?: (fluidcloud.catalog.v1.Enumerate.$Properties|null);
                entries?: (fluidcloud.catalog.v1.Entries.$Properties|null);
                fetch?: (fluidcloud.catalog.v1.Fetch.$Properties|null);
                refused?: (fluidcloud.catalog.v1.Refused.$Properties|null);
                resolve?: (fluidcloud.catalog.v1.Resolve.$Properties|null);
                chain?: (fluidcloud.catalog.v1.Chain.$Properties|null);
                message?: ("publish"|"published"|"query"|"watch"|"list"|"offers"|"summarise"|"summary"|"enumerate"|"entries"|"fetch"|"refused"|"resolve"|"chain");
                static encode(message: fluidcloud.catalog.v1.Frame.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Frame & fluidcloud.catalog.v1.Frame.$Shape;
            }
            namespace Frame {
                interface $Properties {
                    publish?: (fluidcloud.catalog.v1.Publish.$Properties|null);
                    published?: (fluidcloud.catalog.v1.Published.$Properties|null);
                    query?: (fluidcloud.catalog.v1.Query.$Properties|null);
                    watch?: (fluidcloud.catalog.v1.Watch.$Properties|null);
                    list?: (fluidcloud.catalog.v1.List.$Properties|null);
                    offers?: (fluidcloud.catalog.v1.Offers.$Properties|null);
                    summarise?: (fluidcloud.catalog.v1.Summarise.$Properties|null);
                    summary?: (fluidcloud.catalog.v1.Summary.$Properties|null);
                    enumerate?: (fluidcloud.catalog.v1.Enumerate.$Properties|null);
                    entries?: (fluidcloud.catalog.v1.Entries.$Properties|null);
                    fetch?: (fluidcloud.catalog.v1.Fetch.$Properties|null);
                    refused?: (fluidcloud.catalog.v1.Refused.$Properties|null);
                    resolve?: (fluidcloud.catalog.v1.Resolve.$Properties|null);
                    chain?: (fluidcloud.catalog.v1.Chain.$Properties|null);
                    message?: ("publish"|"published"|"query"|"watch"|"list"|"offers"|"summarise"|"summary"|"enumerate"|"entries"|"fetch"|"refused"|"resolve"|"chain");
                    $unknowns?: Uint8Array[];
                }
                type $Shape = {
                  publish?: fluidcloud.catalog.v1.Publish.$Shape|null;
                  published?: fluidcloud.catalog.v1.Published.$Shape|null;
                  query?: fluidcloud.catalog.v1.Query.$Shape|null;
                  watch?: fluidcloud.catalog.v1.Watch.$Shape|null;
                  list?: fluidcloud.catalog.v1.List.$Shape|null;
                  offers?: fluidcloud.catalog.v1.Offers.$Shape|null;
                  summarise?: fluidcloud.catalog.v1.Summarise.$Shape|null;
                  summary?: fluidcloud.catalog.v1.Summary.$Shape|null;
                  enumerate?: fluidcloud.catalog.v1.Enumerate.$Shape|null;
                  entries?: fluidcloud.catalog.v1.Entries.$Shape|null;
                  fetch?: fluidcloud.catalog.v1.Fetch.$Shape|null;
                  refused?: fluidcloud.catalog.v1.Refused.$Shape|null;
                  resolve?: fluidcloud.catalog.v1.Resolve.$Shape|null;
                  chain?: fluidcloud.catalog.v1.Chain.$Shape|null;
                  $unknowns?: Uint8Array[];
                } & (
                  ({ message?: undefined; publish?: null; published?: null; query?: null; watch?: null; list?: null; offers?: null; summarise?: null; summary?: null; enumerate?: null; entries?: null; fetch?: null; refused?: null; resolve?: null; chain?: null }|{ message?: "publish"; publish: fluidcloud.catalog.v1.Publish.$Shape; published?: null; query?: null; watch?: null; list?: null; offers?: null; summarise?: null; summary?: null; enumerate?: null; entries?: null; fetch?: null; refused?: null; resolve?: null; chain?: null }|{ message?: "published"; publish?: null; published: fluidcloud.catalog.v1.Published.$Shape; query?: null; watch?: null; list?: null; offers?: null; summarise?: null; summary?: null; enumerate?: null; entries?: null; fetch?: null; refused?: null; resolve?: null; chain?: null }|{ message?: "query"; publish?: null; published?: null; query: fluidcloud.catalog.v1.Query.$Shape; watch?: null; list?: null; offers?: null; summarise?: null; summary?: null; enumerate?: null; entries?: null; fetch?: null; refused?: null; resolve?: null; chain?: null }|{ message?: "watch"; publish?: null; published?: null; query?: null; watch: fluidcloud.catalog.v1.Watch.$Shape; list?: null; offers?: null; summarise?: null; summary?: null; enumerate?: null; entries?: null; fetch?: null; refused?: null; resolve?: null; chain?: null }|{ message?: "list"; publish?: null; published?: null; query?: null; watch?: null; list: fluidcloud.catalog.v1.List.$Shape; offers?: null; summarise?: null; summary?: null; enumerate?: null; entries?: null; fetch?: null; refused?: null; resolve?: null; chain?: null }|{ message?: "offers"; publish?: null; published?: null; query?: null; watch?: null; list?: null; offers: fluidcloud.catalog.v1.Offers.$Shape; summarise?: null; summary?: null; enumerate?: null; entries?: null; fetch?: null; refused?: null; resolve?: null; chain?: null }|{ message?: "summarise"; publish?: null; published?: null; query?: null; watch?: null; list?: null; offers?: null; summarise: fluidcloud.catalog.v1.Summarise.$Shape; summary?: null; enumerate?: null; entries?: null; fetch?: null; refused?: null; resolve?: null; chain?: null }|{ message?: "summary"; publish?: null; published?: null; query?: null; watch?: null; list?: null; offers?: null; summarise?: null; summary: fluidcloud.catalog.v1.Summary.$Shape; enumerate?: null; entries?: null; fetch?: null; refused?: null; resolve?: null; chain?: null }|{ message?: "enumerate"; publish?: null; published?: null; query?: null; watch?: null; list?: null; offers?: null; summarise?: null; summary?: null; enumerate: fluidcloud.catalog.v1.Enumerate.$Shape; entries?: null; fetch?: null; refused?: null; resolve?: null; chain?: null }|{ message?: "entries"; publish?: null; published?: null; query?: null; watch?: null; list?: null; offers?: null; summarise?: null; summary?: null; enumerate?: null; entries: fluidcloud.catalog.v1.Entries.$Shape; fetch?: null; refused?: null; resolve?: null; chain?: null }|{ message?: "fetch"; publish?: null; published?: null; query?: null; watch?: null; list?: null; offers?: null; summarise?: null; summary?: null; enumerate?: null; entries?: null; fetch: fluidcloud.catalog.v1.Fetch.$Shape; refused?: null; resolve?: null; chain?: null }|{ message?: "refused"; publish?: null; published?: null; query?: null; watch?: null; list?: null; offers?: null; summarise?: null; summary?: null; enumerate?: null; entries?: null; fetch?: null; refused: fluidcloud.catalog.v1.Refused.$Shape; resolve?: null; chain?: null }|{ message?: "resolve"; publish?: null; published?: null; query?: null; watch?: null; list?: null; offers?: null; summarise?: null; summary?: null; enumerate?: null; entries?: null; fetch?: null; refused?: null; resolve: fluidcloud.catalog.v1.Resolve.$Shape; chain?: null }|{ message?: "chain"; publish?: null; published?: null; query?: null; watch?: null; list?: null; offers?: null; summarise?: null; summary?: null; enumerate?: null; entries?: null; fetch?: null; refused?: null; resolve?: null; chain: fluidcloud.catalog.v1.Chain.$Shape })
                );
            }
            interface ISignedOffer extends fluidcloud.catalog.v1.SignedOffer.$Properties {
            }
            class SignedOffer {
                constructor(properties?: fluidcloud.catalog.v1.SignedOffer.$Properties);
                $unknowns?: Uint8Array[];
                body: Uint8Array;
                signature: Uint8Array;
                static encode(message: fluidcloud.catalog.v1.SignedOffer.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.SignedOffer & fluidcloud.catalog.v1.SignedOffer.$Shape;
            }
            namespace SignedOffer {
                interface $Properties {
                    body?: (Uint8Array|null);
                    signature?: (Uint8Array|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.SignedOffer.$Properties;
            }
            interface IOffer extends fluidcloud.catalog.v1.Offer.$Properties {
            }
            class Offer {
                constructor(properties?: fluidcloud.catalog.v1.Offer.$Properties);
                $unknowns?: Uint8Array[];
                id: Uint8Array;
                peer: string;
                sequence: number;
                issuedAtMs: number;
                expiresAtMs: number;
                withdrawn: boolean;
                provider: string;
                place?: (fluidcloud.catalog.v1.Place.$Properties|null);
                cloud?: (fluidcloud.catalog.v1.Cloud.$Properties|null);
                capacity?: (fluidcloud.catalog.v1.Capacity.$Properties|null);
                price?: (fluidcloud.catalog.v1.Price.$Properties|null);
                migrators: fluidcloud.catalog.v1.MigratorSpec.$Properties[];
                addresses: string[];
                static encode(message: fluidcloud.catalog.v1.Offer.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Offer & fluidcloud.catalog.v1.Offer.$Shape;
            }
            namespace Offer {
                interface $Properties {
                    id?: (Uint8Array|null);
                    peer?: (string|null);
                    sequence?: (number|null);
                    issuedAtMs?: (number|null);
                    expiresAtMs?: (number|null);
                    withdrawn?: (boolean|null);
                    provider?: (string|null);
                    place?: (fluidcloud.catalog.v1.Place.$Properties|null);
                    cloud?: (fluidcloud.catalog.v1.Cloud.$Properties|null);
                    capacity?: (fluidcloud.catalog.v1.Capacity.$Properties|null);
                    price?: (fluidcloud.catalog.v1.Price.$Properties|null);
                    migrators?: (fluidcloud.catalog.v1.MigratorSpec.$Properties[]|null);
                    addresses?: (string[]|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Offer.$Properties;
            }
            interface IPlace extends fluidcloud.catalog.v1.Place.$Properties {
            }
            class Place {
                constructor(properties?: fluidcloud.catalog.v1.Place.$Properties);
                $unknowns?: Uint8Array[];
                region: string;
                jurisdiction: string;
                static encode(message: fluidcloud.catalog.v1.Place.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Place & fluidcloud.catalog.v1.Place.$Shape;
            }
            namespace Place {
                interface $Properties {
                    region?: (string|null);
                    jurisdiction?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Place.$Properties;
            }
            interface ICloud extends fluidcloud.catalog.v1.Cloud.$Properties {
            }
            class Cloud {
                constructor(properties?: fluidcloud.catalog.v1.Cloud.$Properties);
                $unknowns?: Uint8Array[];
                kind: string;
                formats: string[];
                features: string[];
                certifications: string[];
                static encode(message: fluidcloud.catalog.v1.Cloud.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Cloud & fluidcloud.catalog.v1.Cloud.$Shape;
            }
            namespace Cloud {
                interface $Properties {
                    kind?: (string|null);
                    formats?: (string[]|null);
                    features?: (string[]|null);
                    certifications?: (string[]|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Cloud.$Properties;
            }
            interface ICapacity extends fluidcloud.catalog.v1.Capacity.$Properties {
            }
            class Capacity {
                constructor(properties?: fluidcloud.catalog.v1.Capacity.$Properties);
                $unknowns?: Uint8Array[];
                vcpus: number;
                memoryBytes: number;
                storageBytes: number;
                maxVolumeBytes: number;
                static encode(message: fluidcloud.catalog.v1.Capacity.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Capacity & fluidcloud.catalog.v1.Capacity.$Shape;
            }
            namespace Capacity {
                interface $Properties {
                    vcpus?: (number|null);
                    memoryBytes?: (number|null);
                    storageBytes?: (number|null);
                    maxVolumeBytes?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Capacity.$Properties;
            }
            interface IPrice extends fluidcloud.catalog.v1.Price.$Properties {
            }
            class Price {
                constructor(properties?: fluidcloud.catalog.v1.Price.$Properties);
                $unknowns?: Uint8Array[];
                currency: string;
                vcpuHourMicros: number;
                memoryGibHourMicros: number;
                storageGibMonthMicros: number;
                egressGibMicros: number;
                ingressGibMicros: number;
                static encode(message: fluidcloud.catalog.v1.Price.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Price & fluidcloud.catalog.v1.Price.$Shape;
            }
            namespace Price {
                interface $Properties {
                    currency?: (string|null);
                    vcpuHourMicros?: (number|null);
                    memoryGibHourMicros?: (number|null);
                    storageGibMonthMicros?: (number|null);
                    egressGibMicros?: (number|null);
                    ingressGibMicros?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Price.$Properties;
            }
            interface IMigratorSpec extends fluidcloud.catalog.v1.MigratorSpec.$Properties {
            }
            class MigratorSpec {
                constructor(properties?: fluidcloud.catalog.v1.MigratorSpec.$Properties);
                $unknowns?: Uint8Array[];
                name: string;
                version: string;
                accepts: string[];
                produces: string[];
                static encode(message: fluidcloud.catalog.v1.MigratorSpec.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.MigratorSpec & fluidcloud.catalog.v1.MigratorSpec.$Shape;
            }
            namespace MigratorSpec {
                interface $Properties {
                    name?: (string|null);
                    version?: (string|null);
                    accepts?: (string[]|null);
                    produces?: (string[]|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.MigratorSpec.$Properties;
            }
            interface IPublish extends fluidcloud.catalog.v1.Publish.$Properties {
            }
            class Publish {
                constructor(properties?: fluidcloud.catalog.v1.Publish.$Properties);
                $unknowns?: Uint8Array[];
                offers: fluidcloud.catalog.v1.SignedOffer.$Properties[];
                static encode(message: fluidcloud.catalog.v1.Publish.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Publish & fluidcloud.catalog.v1.Publish.$Shape;
            }
            namespace Publish {
                interface $Properties {
                    offers?: (fluidcloud.catalog.v1.SignedOffer.$Properties[]|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Publish.$Properties;
            }
            interface IPublished extends fluidcloud.catalog.v1.Published.$Properties {
            }
            class Published {
                constructor(properties?: fluidcloud.catalog.v1.Published.$Properties);
                $unknowns?: Uint8Array[];
                verdicts: fluidcloud.catalog.v1.Verdict.$Properties[];
                static encode(message: fluidcloud.catalog.v1.Published.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Published & fluidcloud.catalog.v1.Published.$Shape;
            }
            namespace Published {
                interface $Properties {
                    verdicts?: (fluidcloud.catalog.v1.Verdict.$Properties[]|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Published.$Properties;
            }
            interface IVerdict extends fluidcloud.catalog.v1.Verdict.$Properties {
            }
            class Verdict {
                constructor(properties?: fluidcloud.catalog.v1.Verdict.$Properties);
                $unknowns?: Uint8Array[];
                outcome: fluidcloud.catalog.v1.Outcome;
                message: string;
                static encode(message: fluidcloud.catalog.v1.Verdict.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Verdict & fluidcloud.catalog.v1.Verdict.$Shape;
            }
            namespace Verdict {
                interface $Properties {
                    outcome?: (fluidcloud.catalog.v1.Outcome|null);
                    message?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Verdict.$Properties;
            }
            enum Outcome {
                OUTCOME_UNSPECIFIED = 0,
                OUTCOME_KEPT = 1,
                OUTCOME_HELD = 2,
                OUTCOME_OVERSIZED = 3,
                OUTCOME_MALFORMED = 4,
                OUTCOME_FORGED = 5,
                OUTCOME_REPLAYED = 6,
                OUTCOME_EXPIRED = 7,
                OUTCOME_EARLY = 8,
                OUTCOME_LEASE = 9,
                OUTCOME_CROWDED = 10,
                OUTCOME_HASTY = 11
            }
            interface IQuery extends fluidcloud.catalog.v1.Query.$Properties {
            }
            class Query {
                constructor(properties?: fluidcloud.catalog.v1.Query.$Properties);
                $unknowns?: Uint8Array[];
                request?: (fluidcloud.catalog.v1.Request.$Properties|null);
                limit: number;
                failing: number;
                static encode(message: fluidcloud.catalog.v1.Query.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Query & fluidcloud.catalog.v1.Query.$Shape;
            }
            namespace Query {
                interface $Properties {
                    request?: (fluidcloud.catalog.v1.Request.$Properties|null);
                    limit?: (number|null);
                    failing?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Query.$Properties;
            }
            interface IWatch extends fluidcloud.catalog.v1.Watch.$Properties {
            }
            class Watch {
                constructor(properties?: fluidcloud.catalog.v1.Watch.$Properties);
                $unknowns?: Uint8Array[];
                request?: (fluidcloud.catalog.v1.Request.$Properties|null);
                limit: number;
                static encode(message: fluidcloud.catalog.v1.Watch.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Watch & fluidcloud.catalog.v1.Watch.$Shape;
            }
            namespace Watch {
                interface $Properties {
                    request?: (fluidcloud.catalog.v1.Request.$Properties|null);
                    limit?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Watch.$Properties;
            }
            interface IList extends fluidcloud.catalog.v1.List.$Properties {
            }
            class List {
                constructor(properties?: fluidcloud.catalog.v1.List.$Properties);
                $unknowns?: Uint8Array[];
                peer: string;
                after: Uint8Array;
                limit: number;
                static encode(message: fluidcloud.catalog.v1.List.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.List & fluidcloud.catalog.v1.List.$Shape;
            }
            namespace List {
                interface $Properties {
                    peer?: (string|null);
                    after?: (Uint8Array|null);
                    limit?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.List.$Properties;
            }
            interface IRequest extends fluidcloud.catalog.v1.Request.$Properties {
            }
            class Request {
                constructor(properties?: fluidcloud.catalog.v1.Request.$Properties);
                $unknowns?: Uint8Array[];
                need?: (fluidcloud.catalog.v1.Need.$Properties|null);
                want?: (fluidcloud.catalog.v1.Want.$Properties|null);
                have?: (fluidcloud.catalog.v1.Have.$Properties|null);
                static encode(message: fluidcloud.catalog.v1.Request.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Request & fluidcloud.catalog.v1.Request.$Shape;
            }
            namespace Request {
                interface $Properties {
                    need?: (fluidcloud.catalog.v1.Need.$Properties|null);
                    want?: (fluidcloud.catalog.v1.Want.$Properties|null);
                    have?: (fluidcloud.catalog.v1.Have.$Properties|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Request.$Properties;
            }
            interface INeed extends fluidcloud.catalog.v1.Need.$Properties {
            }
            class Need {
                constructor(properties?: fluidcloud.catalog.v1.Need.$Properties);
                $unknowns?: Uint8Array[];
                vcpus: number;
                memoryBytes: number;
                storageBytes: number;
                maxVolumeBytes: number;
                formats: string[];
                features: string[];
                jurisdictions: string[];
                certifications: string[];
                direct: boolean;
                static encode(message: fluidcloud.catalog.v1.Need.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Need & fluidcloud.catalog.v1.Need.$Shape;
            }
            namespace Need {
                interface $Properties {
                    vcpus?: (number|null);
                    memoryBytes?: (number|null);
                    storageBytes?: (number|null);
                    maxVolumeBytes?: (number|null);
                    formats?: (string[]|null);
                    features?: (string[]|null);
                    jurisdictions?: (string[]|null);
                    certifications?: (string[]|null);
                    direct?: (boolean|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Need.$Properties;
            }
            interface IWant extends fluidcloud.catalog.v1.Want.$Properties {
            }
            class Want {
                constructor(properties?: fluidcloud.catalog.v1.Want.$Properties);
                $unknowns?: Uint8Array[];
                price: number;
                egress: number;
                moveTime: number;
                rtt: number;
                outcomes: number;
                static encode(message: fluidcloud.catalog.v1.Want.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Want & fluidcloud.catalog.v1.Want.$Shape;
            }
            namespace Want {
                interface $Properties {
                    price?: (number|null);
                    egress?: (number|null);
                    moveTime?: (number|null);
                    rtt?: (number|null);
                    outcomes?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Want.$Properties;
            }
            interface IHave extends fluidcloud.catalog.v1.Have.$Properties {
            }
            class Have {
                constructor(properties?: fluidcloud.catalog.v1.Have.$Properties);
                $unknowns?: Uint8Array[];
                allocatedBytes: number;
                egressGibMicros: number;
                currency: string;
                static encode(message: fluidcloud.catalog.v1.Have.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Have & fluidcloud.catalog.v1.Have.$Shape;
            }
            namespace Have {
                interface $Properties {
                    allocatedBytes?: (number|null);
                    egressGibMicros?: (number|null);
                    currency?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Have.$Properties;
            }
            interface IOffers extends fluidcloud.catalog.v1.Offers.$Properties {
            }
            class Offers {
                constructor(properties?: fluidcloud.catalog.v1.Offers.$Properties);
                $unknowns?: Uint8Array[];
                offers: fluidcloud.catalog.v1.SignedOffer.$Properties[];
                more: boolean;
                considered: number;
                fitting: number;
                static encode(message: fluidcloud.catalog.v1.Offers.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Offers & fluidcloud.catalog.v1.Offers.$Shape;
            }
            namespace Offers {
                interface $Properties {
                    offers?: (fluidcloud.catalog.v1.SignedOffer.$Properties[]|null);
                    more?: (boolean|null);
                    considered?: (number|null);
                    fitting?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Offers.$Properties;
            }
            interface IResolve extends fluidcloud.catalog.v1.Resolve.$Properties {
            }
            class Resolve {
                constructor(properties?: fluidcloud.catalog.v1.Resolve.$Properties);
                $unknowns?: Uint8Array[];
                produces: string[];
                accepts: string[];
                preferred: string[];
                static encode(message: fluidcloud.catalog.v1.Resolve.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Resolve & fluidcloud.catalog.v1.Resolve.$Shape;
            }
            namespace Resolve {
                interface $Properties {
                    produces?: (string[]|null);
                    accepts?: (string[]|null);
                    preferred?: (string[]|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Resolve.$Properties;
            }
            interface IChain extends fluidcloud.catalog.v1.Chain.$Properties {
            }
            class Chain {
                constructor(properties?: fluidcloud.catalog.v1.Chain.$Properties);
                $unknowns?: Uint8Array[];
                offers: fluidcloud.catalog.v1.SignedOffer.$Properties[];
                gap: fluidcloud.catalog.v1.Gap;
                reason: string;
                static encode(message: fluidcloud.catalog.v1.Chain.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Chain & fluidcloud.catalog.v1.Chain.$Shape;
            }
            namespace Chain {
                interface $Properties {
                    offers?: (fluidcloud.catalog.v1.SignedOffer.$Properties[]|null);
                    gap?: (fluidcloud.catalog.v1.Gap|null);
                    reason?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Chain.$Properties;
            }
            enum Gap {
                GAP_UNSPECIFIED = 0,
                GAP_SOURCE = 1,
                GAP_TARGET = 2,
                GAP_BETWEEN = 3
            }
            interface ISummarise extends fluidcloud.catalog.v1.Summarise.$Properties {
            }
            class Summarise {
                constructor(properties?: fluidcloud.catalog.v1.Summarise.$Properties);
                $unknowns?: Uint8Array[];
                prefixes: Uint8Array[];
                static encode(message: fluidcloud.catalog.v1.Summarise.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Summarise & fluidcloud.catalog.v1.Summarise.$Shape;
            }
            namespace Summarise {
                interface $Properties {
                    prefixes?: (Uint8Array[]|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Summarise.$Properties;
            }
            interface ISummary extends fluidcloud.catalog.v1.Summary.$Properties {
            }
            class Summary {
                constructor(properties?: fluidcloud.catalog.v1.Summary.$Properties);
                $unknowns?: Uint8Array[];
                prefix: Uint8Array;
                nodes: fluidcloud.catalog.v1.Node.$Properties[];
                more: boolean;
                static encode(message: fluidcloud.catalog.v1.Summary.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Summary & fluidcloud.catalog.v1.Summary.$Shape;
            }
            namespace Summary {
                interface $Properties {
                    prefix?: (Uint8Array|null);
                    nodes?: (fluidcloud.catalog.v1.Node.$Properties[]|null);
                    more?: (boolean|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Summary.$Properties;
            }
            interface INode extends fluidcloud.catalog.v1.Node.$Properties {
            }
            class Node {
                constructor(properties?: fluidcloud.catalog.v1.Node.$Properties);
                $unknowns?: Uint8Array[];
                prefix: Uint8Array;
                entries: number;
                digest: Uint8Array;
                static encode(message: fluidcloud.catalog.v1.Node.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Node & fluidcloud.catalog.v1.Node.$Shape;
            }
            namespace Node {
                interface $Properties {
                    prefix?: (Uint8Array|null);
                    entries?: (number|null);
                    digest?: (Uint8Array|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Node.$Properties;
            }
            interface IEnumerate extends fluidcloud.catalog.v1.Enumerate.$Properties {
            }
            class Enumerate {
                constructor(properties?: fluidcloud.catalog.v1.Enumerate.$Properties);
                $unknowns?: Uint8Array[];
                prefixes: Uint8Array[];
                static encode(message: fluidcloud.catalog.v1.Enumerate.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Enumerate & fluidcloud.catalog.v1.Enumerate.$Shape;
            }
            namespace Enumerate {
                interface $Properties {
                    prefixes?: (Uint8Array[]|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Enumerate.$Properties;
            }
            interface IEntries extends fluidcloud.catalog.v1.Entries.$Properties {
            }
            class Entries {
                constructor(properties?: fluidcloud.catalog.v1.Entries.$Properties);
                $unknowns?: Uint8Array[];
                entries: Uint8Array;
                more: boolean;
                static encode(message: fluidcloud.catalog.v1.Entries.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Entries & fluidcloud.catalog.v1.Entries.$Shape;
            }
            namespace Entries {
                interface $Properties {
                    entries?: (Uint8Array|null);
                    more?: (boolean|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Entries.$Properties;
            }
            interface IFetch extends fluidcloud.catalog.v1.Fetch.$Properties {
            }
            class Fetch {
                constructor(properties?: fluidcloud.catalog.v1.Fetch.$Properties);
                $unknowns?: Uint8Array[];
                positions: Uint8Array;
                static encode(message: fluidcloud.catalog.v1.Fetch.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Fetch & fluidcloud.catalog.v1.Fetch.$Shape;
            }
            namespace Fetch {
                interface $Properties {
                    positions?: (Uint8Array|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Fetch.$Properties;
            }
            interface IRefused extends fluidcloud.catalog.v1.Refused.$Properties {
            }
            class Refused {
                constructor(properties?: fluidcloud.catalog.v1.Refused.$Properties);
                $unknowns?: Uint8Array[];
                code: number;
                message: string;
                static encode(message: fluidcloud.catalog.v1.Refused.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.catalog.v1.Refused & fluidcloud.catalog.v1.Refused.$Shape;
            }
            namespace Refused {
                interface $Properties {
                    code?: (number|null);
                    message?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.catalog.v1.Refused.$Properties;
            }
        }
    }
}
