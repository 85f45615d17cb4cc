import type { MetadataImage } from "./image.ts";

/** A feature of the cluster (KIP-584): the levels this chronik can serve, and the one in force
 * while nobody chose another. Level 0 is "off". */
export interface Feature {
  readonly name: string;
  readonly minVersion: number;
  readonly maxVersion: number;
  readonly defaultLevel: number;
}

export interface SupportedFeature {
  readonly name: string;
  readonly minVersion: number;
  readonly maxVersion: number;
}

export interface FinalizedFeature {
  readonly name: string;
  readonly minVersionLevel: number;
  readonly maxVersionLevel: number;
}

function feature(
  name: string,
  minVersion: number,
  maxVersion: number,
  defaultLevel: number,
): Feature {
  return { name, minVersion, maxVersion, defaultLevel };
}

/**
 * The one table of features. A maximum rises when the behaviour behind it is served:
 * transaction.version 2 with KIP-890, group.version 1 with KIP-848, share.version 1 with KIP-932
 * and 2 with KIP-1191, streams.version 1 with KIP-1071. kraft.version stays 0: no voter joins or
 * leaves at run time; eligible.leader.replicas.version too: no replica but the leader could be one.
 */
export const features: readonly Feature[] = [
  feature("group.version", 0, 1, 1),
  feature("kraft.version", 0, 0, 0),
  // 7 is 3.3-IV3, the oldest level a 4.x broker takes; 30 is 4.3-IV0.
  feature("metadata.version", 7, 30, 30),
  feature("share.version", 0, 2, 2),
  feature("streams.version", 0, 0, 0),
  feature("transaction.version", 0, 2, 2),
  feature("eligible.leader.replicas.version", 0, 0, 0),
];

const byName: ReadonlyMap<string, Feature> = new Map(features.map((one) => [one.name, one]));

export function featureOf(name: string): Feature | null {
  return byName.get(name) ?? null;
}

/** The level in force; 0 for a feature that is off or unknown. */
export function featureLevel(image: MetadataImage, name: string): number {
  return image.featureLevels.get(name) ?? byName.get(name)?.defaultLevel ?? 0;
}

/** What ApiVersions tells: before v4 without the features that start at 0, which clients of that
 * time refuse to read (as Apache Kafka 4.x). */
export function supportedFeatures(apiVersion: number): SupportedFeature[] {
  return features
    .filter(({ minVersion }) => apiVersion >= 4 || minVersion > 0)
    .map(({ name, minVersion, maxVersion }) => ({ name, minVersion, maxVersion }));
}

/** Every feature that is on, with its level as both bounds, as Kafka tells it. */
export function finalizedFeatures(image: MetadataImage): FinalizedFeature[] {
  return features.flatMap(({ name }) => {
    const level = featureLevel(image, name);
    return level > 0 ? [{ name, minVersionLevel: level, maxVersionLevel: level }] : [];
  });
}

/** Grows with every change of the metadata: an answer with a larger one is newer. */
export function featuresEpoch(image: MetadataImage): number {
  return image.version;
}

/** A level that was chosen with another chronik and that this one cannot serve, or null. */
export function unservedFeature(image: MetadataImage): { name: string; level: number } | null {
  for (const [name, level] of image.featureLevels) {
    const known = byName.get(name);
    if (known === undefined || level > known.maxVersion || level < known.minVersion) {
      return { name, level };
    }
  }
  return null;
}
