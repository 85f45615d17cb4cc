import { ErrorCode } from "../protocol/error-code.ts";
import type { Command } from "./command.ts";
import { type Feature, featureLevel, featureOf } from "./features.ts";
import type { MetadataImage } from "./image.ts";
import type { Outcome } from "./requests.ts";
import { failure, isOutcome } from "./topic-plan.ts";

/** What an update may do: raise, lower where nothing is lost, lower regardless. */
export const UpgradeType = { UPGRADE: 1, SAFE_DOWNGRADE: 2, UNSAFE_DOWNGRADE: 3 } as const;

export interface FeatureUpdate {
  readonly name: string;
  readonly level: number;
  readonly upgradeType: number;
}

/** From which level of metadata.version on something was written that an older level cannot hold;
 * a downgrade may not cross it. */
const metadataChangedAt = 30;

/** Plans the updates together (pure): all of them, or Kafka's error for the first that fails. */
export function planFeatures(
  image: MetadataImage,
  updates: readonly FeatureUpdate[],
  nodeId: number,
): Command[] | Outcome {
  const commands: Command[] = [];
  for (const update of updates) {
    const command = planFeature(image, update, nodeId);
    if (isOutcome(command)) return command;
    if (featureLevel(image, update.name) !== update.level) commands.push(command);
  }
  return commands;
}

function planFeature(image: MetadataImage, update: FeatureUpdate, nodeId: number) {
  const { name, level, upgradeType } = update;
  const reason = refusal(image, update, nodeId);
  if (reason !== null) {
    const text = `Invalid update version ${level} for feature ${name}. ${reason}`;
    return failure(ErrorCode.INVALID_UPDATE_VERSION, text);
  }
  const current = featureLevel(image, name);
  if (name === "metadata.version" && level < current && current >= metadataChangedAt) {
    const why =
      upgradeType === UpgradeType.UNSAFE_DOWNGRADE
        ? "Unsafe metadata downgrade is not supported in this version."
        : "Refusing to perform the requested downgrade because it might delete metadata " +
          "information.";
    const text = `Unsupported metadata.version downgrade from ${current} to ${level}. ${why}`;
    return failure(ErrorCode.INVALID_UPDATE_VERSION, text);
  }
  return { type: "feature", name, level } as const;
}

function refusal(image: MetadataImage, update: FeatureUpdate, nodeId: number): string | null {
  const { name, level, upgradeType } = update;
  if (upgradeType < UpgradeType.UPGRADE || upgradeType > UpgradeType.UNSAFE_DOWNGRADE) {
    return "The controller does not support the given upgrade type.";
  }
  if (level < 0) return "A feature version cannot be less than 0.";
  const unsupported = rangeError(featureOf(name), level);
  if (unsupported !== null) return `Local controller ${nodeId} ${unsupported}`;
  const current = featureLevel(image, name);
  if (level < current && upgradeType === UpgradeType.UPGRADE) {
    return (
      "Can't downgrade the version of this feature without setting the upgrade type to either " +
      "safe or unsafe downgrade."
    );
  }
  if (level > current && upgradeType !== UpgradeType.UPGRADE) {
    return "Can't downgrade to a newer version.";
  }
  return null;
}

function rangeError(feature: Feature | null, level: number): string | null {
  const { minVersion, maxVersion } = feature ?? { minVersion: 0, maxVersion: 0 };
  if (level >= minVersion && level <= maxVersion) return null;
  if (maxVersion === 0) return "does not support this feature.";
  const range = minVersion === maxVersion ? `${minVersion}` : `${minVersion}-${maxVersion}`;
  return `only supports versions ${range}`;
}
